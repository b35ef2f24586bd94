//! What LINE takes as the body of a call, and in which words it refuses the rest.
//!
//! LINE's OpenAPI file tells subtypes (message, action, template, flex component) apart by `type`
//! alone, so a generated client sends an image without its addresses and learns of it from LINE.
//! Here each subtype is a `Shape` with the fields that it needs and their limits.
//!
//! Two choices where LINE's pages say nothing: a field that no page names is refused everywhere (LINE
//! refuses it in flex messages and passes over it elsewhere, where it is a typing error that nobody
//! notices), and everything wrong is told at once.

mod action;
mod flex;
mod form;
mod imagemap;
mod message;
mod request;
mod template;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use request::check;

/// Why a body is refused, in LINE's form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invalid {
    /// The whole of it.
    pub message: String,
    /// Each field that is wrong.
    pub details: Vec<Detail>,
}

/// One field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// What is wrong with it.
    pub message: String,
    /// Where it stands: `messages[0].text`, or in a flex message a JSON pointer from its `contents`.
    pub property: String,
}

impl Invalid {
    /// One wrong field of a call's body.
    pub(crate) fn field(property: &str, message: &str) -> Self {
        Self::fields(vec![Detail { message: message.to_owned(), property: property.to_owned() }])
    }

    fn fields(details: Vec<Detail>) -> Self {
        Self { message: format!("The request body has {} error(s)", details.len()), details }
    }

    /// LINE checks flex messages apart, and says which message it was in the text.
    fn flex(index: usize, details: Vec<Detail>) -> Self {
        let message = format!("A message (messages[{index}]) in the request body is invalid");
        Self { message, details }
    }

    /// The body of the 400.
    pub(crate) fn body(&self) -> Value {
        json!({"message": self.message, "details": self.details})
    }
}
