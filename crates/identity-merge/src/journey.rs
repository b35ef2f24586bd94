//! What the state knows about whose journey a record belongs to. It stands behind no face: only
//! this service asks, for callers who may see every customer.

use mainstem_bus::nats::Question;
use mainstem_domain::identity::State;
use mainstem_domain::{At, CustomerId, Refusal};
use serde::{Deserialize, Serialize};

use crate::custody::{self, Owner, Says};

/// The name under which the machine is asked.
pub(crate) const METHOD: &str = "Journey";

/// Whose journey, and which records are in doubt.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ask {
    /// The id or an alias.
    pub(crate) customer: CustomerId,
    /// Under whom each record in doubt stands, and what it says of whose it is.
    #[serde(default)]
    pub(crate) doubtful: Vec<(CustomerId, Says)>,
}

/// Where the journey stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Journey {
    /// The id of now, then its aliases.
    pub(crate) ids: Vec<CustomerId>,
    /// While records are still being moved after a split: when the customer was taken apart.
    /// Whatever was decided before can stand under the wrong id.
    pub(crate) apart_since: Option<At>,
    /// Whether each record in doubt is of whom it stands under.
    pub(crate) own: Vec<bool>,
}

impl Journey {
    pub(crate) async fn ask(question: &Question<'_>, ask: &Ask) -> Result<Self, Refusal> {
        let body = serde_json::to_string(ask).unwrap_or_default();
        let answer = question.ask(METHOD, body).await?;
        mainstem_bus::read_request(answer.as_bytes())
    }
}

pub(crate) fn answer(state: &State, ask: &Ask) -> Result<Journey, Refusal> {
    let profile = state
        .customer(ask.customer)
        .ok_or_else(|| Refusal::not_found("customer", ask.customer.as_str()))?;
    let ids: Vec<_> = [profile.id].into_iter().chain(profile.aliases).collect();
    let apart_since = state
        .splits()
        .map(|(_, split)| split)
        .filter(|split| split.ids().any(|id| ids.contains(&id)))
        .map(|split| split.split_at)
        .max();
    let own = ask
        .doubtful
        .iter()
        .map(|(customer, says)| custody::owner_of(state, *customer, says) == Owner::Stays)
        .collect();
    Ok(Journey { ids, apart_since, own })
}
