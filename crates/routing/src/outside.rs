//! What methods of routing need besides its state: what stands in the ledgers.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use mainstem_bus::nats::{Asked, Bus, Outside, Past, Question};
use mainstem_bus::topology;
use mainstem_domain::Refusal;

use crate::explain;

/// Everything beyond the state.
pub(crate) struct Beyond {
    /// What customers did.
    pub(crate) customers: Past,
    /// What was decided about it.
    pub(crate) decisions: Past,
}

impl Beyond {
    pub(crate) fn new(bus: &Bus) -> Self {
        Self {
            customers: Past::new(bus.clone(), "identity-merge", topology::CUSTOMER),
            decisions: Past::new(bus.clone(), "routing", topology::ROUTING),
        }
    }
}

impl Outside for Beyond {
    fn call<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, Result<Asked, Refusal>> {
        async move {
            match question.method {
                "ExplainDecision" => explain::answer(question, self).await.map(Asked::Answer),
                _ => Ok(Asked::Pass),
            }
        }
        .boxed()
    }
}
