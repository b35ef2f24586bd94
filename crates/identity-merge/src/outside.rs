//! What methods of identity-merge need besides its state: routing's open cases, and the ledgers.

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use mainstem_bus::nats::{Asked, Bus, Outside, Past, Question, ServiceClient};
use mainstem_bus::{TraceContext, need_whole_scope, read_request, topology};
use mainstem_domain::{CustomerId, Refusal, RefusalCode};
use mainstem_proto::field::parse_customer;
use mainstem_proto::wire::{identity as wire, routing};

use crate::journey::{Ask, Journey};
use crate::timeline;

/// States of a case that keep a customer from being forgotten.
const UNFINISHED: [routing::CaseState; 4] = [
    routing::CaseState::Open,
    routing::CaseState::Accepted,
    routing::CaseState::InProgress,
    routing::CaseState::WaitingCustomer,
];

const CASES_ON_A_PAGE: i32 = 500;

/// Everything beyond the state.
pub(crate) struct Beyond {
    ledgers: [Past; 3],
    /// None without a token.
    services: Option<ServiceClient>,
}

impl Beyond {
    /// `token` proves this service to routing.
    pub(crate) fn new(bus: Bus, token: &str) -> Self {
        let ledgers =
            topology::LEDGERS.map(|(service, ledger)| Past::new(bus.clone(), service, ledger));
        let services = (!token.is_empty()).then(|| ServiceClient::new(bus, token));
        Self { ledgers, services }
    }

    /// Puts the customer's open cases into the request, whatever the client sent.
    async fn erase(&self, question: &Question<'_>) -> Result<Asked, Refusal> {
        need_whole_scope(question.caller)?;
        let mut request: wire::EraseCustomerRequest = read_request(question.body.as_bytes())?;
        request.open_cases.clear();
        // Who is forced does not ask which cases are cancelled.
        if !request.force {
            let customer = parse_customer("customer", &request.customer)?;
            let ask = Ask { customer, doubtful: Vec::new() };
            match Journey::ask(question, &ask).await {
                Ok(journey) => {
                    request.open_cases = self.open_cases(question, &journey.ids).await?;
                }
                // Forgotten already: the same request gets the same answer.
                Err(refusal) if refusal.code == RefusalCode::NotFound => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(Asked::Body(serde_json::to_string(&request).unwrap_or_default()))
    }

    async fn open_cases(
        &self,
        question: &Question<'_>,
        ids: &[CustomerId],
    ) -> Result<Vec<String>, Refusal> {
        let services = self.services.as_ref().ok_or_else(|| {
            unknown(
                RefusalCode::FailedPrecondition,
                "[erasure] token is empty; enter the token of a caller with the role service, or \
                 force it",
            )
        })?;
        let trace = question.trace.and_then(TraceContext::parse);
        let trace = trace.unwrap_or_else(|| TraceContext::root(question.call_id));
        let mut cases = Vec::new();
        for customer in ids {
            for state in UNFINISHED {
                let mut page_token = String::new();
                loop {
                    let ask = routing::ListCasesRequest {
                        state: state.into(),
                        page_size: CASES_ON_A_PAGE,
                        page_token,
                        customer: customer.to_string(),
                        ..routing::ListCasesRequest::default()
                    };
                    let body = serde_json::to_vec(&ask).map(Bytes::from).unwrap_or_default();
                    let answer = services.call("routing", "list-cases", body, &trace).await;
                    let answer = answer.map_err(|refusal| untold(&refusal))?;
                    let page: routing::ListCasesResponse = serde_json::from_slice(&answer)
                        .map_err(|_| {
                            unknown(
                                RefusalCode::Internal,
                                "routing is of another version; run services of one version",
                            )
                        })?;
                    cases.extend(page.cases.into_iter().map(|case| case.case));
                    page_token = page.next_page_token;
                    if page_token.is_empty() {
                        break;
                    }
                }
            }
        }
        Ok(cases)
    }
}

impl Outside for Beyond {
    fn call<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, Result<Asked, Refusal>> {
        async move {
            match question.method {
                "EraseCustomer" => self.erase(question).await,
                "GetTimeline" => timeline::page(question, &self.ledgers).await.map(Asked::Answer),
                _ => Ok(Asked::Pass),
            }
        }
        .boxed()
    }
}

fn unknown(code: RefusalCode, why: &str) -> Refusal {
    let message = format!("it is not known which cases of the customer are open: {why}");
    Refusal::new(code, "CASES_UNKNOWN", message)
}

/// Routing does not say.
fn untold(refusal: &Refusal) -> Refusal {
    match refusal.code {
        RefusalCode::Unavailable => unknown(
            RefusalCode::Unavailable,
            &format!("{refusal}; send the request again when routing answers, or force it"),
        ),
        RefusalCode::InvalidArgument
        | RefusalCode::Unauthenticated
        | RefusalCode::PermissionDenied
        | RefusalCode::NotFound
        | RefusalCode::FailedPrecondition
        | RefusalCode::AlreadyExists
        | RefusalCode::ResourceExhausted
        | RefusalCode::Internal => unknown(
            RefusalCode::FailedPrecondition,
            &format!(
                "routing refuses ({refusal}); [erasure] token must be of a caller with the role \
                 service and every scope, or force it"
            ),
        ),
    }
}
