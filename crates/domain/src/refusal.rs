use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What kind of refusal it is; one to one with gRPC status codes, so both faces of an API say
/// the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RefusalCode {
    /// A field is wrong whatever the state is.
    InvalidArgument,
    /// The caller is unknown.
    Unauthenticated,
    /// The caller is known and may not do this.
    PermissionDenied,
    /// The thing named does not exist, or the caller may not know that it does.
    NotFound,
    /// The state forbids it; another state would allow it.
    FailedPrecondition,
    /// The same `request_id` came with another request.
    AlreadyExists,
    /// A limit is reached.
    ResourceExhausted,
    /// Nobody can take the request now; the same request may be sent again.
    Unavailable,
    /// Our fault.
    Internal,
}

/// One field that is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The field's path in the request, e.g. `identifier`.
    pub field: String,
    /// What is wrong and the remedy.
    pub description: String,
}

/// A request was refused. Kept in the record of the request, so the same request is refused the
/// same way for as long as its receipt lives.
///
/// Never carries personal data: it is logged and counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The kind.
    pub code: RefusalCode,
    /// A constant in `UPPER_SNAKE_CASE` that a program can decide on (AIP-193 `ErrorInfo.reason`).
    pub reason: String,
    /// For people: what is wrong and what to do.
    pub message: String,
    /// Fields that are wrong; only with [`RefusalCode::InvalidArgument`].
    #[serde(default)]
    pub violations: Vec<Violation>,
    /// Facts behind the reason, e.g. who holds the case.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

impl Refusal {
    /// A refusal without further facts.
    #[must_use]
    pub fn new(code: RefusalCode, reason: &str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.to_owned(),
            message: message.into(),
            violations: Vec::new(),
            metadata: BTreeMap::new(),
        }
    }

    /// One wrong field.
    #[must_use]
    pub fn field(field: &str, description: impl Into<String>) -> Self {
        let description = description.into();
        Self {
            violations: vec![Violation {
                field: field.to_owned(),
                description: description.clone(),
            }],
            ..Self::new(
                RefusalCode::InvalidArgument,
                "INVALID_FIELD",
                format!("{field}: {description}"),
            )
        }
    }

    /// The thing named does not exist.
    #[must_use]
    pub fn not_found(kind: &str, id: &str) -> Self {
        Self::new(RefusalCode::NotFound, "NOT_FOUND", format!("no {kind} {id}"))
    }

    /// Adds a fact.
    #[must_use]
    pub fn with(mut self, key: &str, value: &(impl ToString + ?Sized)) -> Self {
        self.metadata.insert(key.to_owned(), value.to_string());
        self
    }
}
