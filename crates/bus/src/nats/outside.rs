//! What a method needs besides the state of its service.

use futures::future::BoxFuture;
use mainstem_domain::Refusal;
use mainstem_domain::access::Caller;

use crate::engine::Answer;
use crate::nats::Handle;

/// Looks at calls before the machine does, on the instance that receives them, writer or standby,
/// and on whichever face they come in. The caller is known, and has the role that the method needs;
/// the scope is not checked yet.
///
/// A decider sees its state and nothing else, so that it decides the same on every run. What a
/// method needs of other services or of the streams is asked for here, and put into the request.
pub trait Outside: Send + Sync + 'static {
    /// What is to be done with a call.
    ///
    /// # Errors
    /// The refusal that the caller gets.
    fn call<'a>(&'a self, question: &'a Question<'a>) -> BoxFuture<'a, Result<Asked, Refusal>>;
}

/// A call that came in.
pub struct Question<'a> {
    /// The service's own use cases.
    pub handle: &'a Handle,
    /// The method.
    pub method: &'a str,
    /// Who calls.
    pub caller: &'a Caller,
    /// The request in proto3 JSON, not read yet.
    pub body: &'a str,
    /// The caller's trace.
    pub trace: Option<&'a str>,
    /// Names the call.
    pub call_id: &'a str,
}

/// What is to be done with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Nothing: the machine takes it as it is.
    Pass,
    /// The machine takes this body instead. Whether a request is the same as an earlier one goes
    /// by the body that was sent.
    Body(String),
    /// This is the JSON body of the response; the machine does not see the call.
    Answer(String),
}

impl Question<'_> {
    /// Asks the service's own state, for this caller; see [`Handle::ask`].
    ///
    /// # Errors
    /// As [`Handle::ask`].
    pub async fn ask(&self, method: &str, body: String) -> Answer {
        let call_id = format!("{}/{method}", self.call_id);
        self.handle.ask(method, self.caller.clone(), body, call_id).await
    }
}
