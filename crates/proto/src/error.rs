//! What can be wrong with what came over the wire. No message repeats what was sent: errors are
//! logged and dead-lettered, and what was sent may be personal data.

use mainstem_domain::Refusal;

/// One field is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {description}")]
pub struct FieldError {
    /// The field's path, e.g. `case.queue`.
    pub field: String,
    /// What is wrong and the remedy.
    pub description: String,
}

impl FieldError {
    /// That field is wrong in this way.
    #[must_use]
    pub fn new(field: &str, description: impl Into<String>) -> Self {
        Self { field: field.to_owned(), description: description.into() }
    }

    /// The same error, seen from the message that holds the wrong one in `parent`.
    #[must_use]
    pub fn within(self, parent: &str) -> Self {
        Self { field: format!("{parent}.{}", self.field), ..self }
    }
}

impl From<FieldError> for Refusal {
    fn from(error: FieldError) -> Self {
        Self::field(&error.field, error.description)
    }
}

/// Why a record is none that this build can read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A kind that the service does not write.
    #[error("no record of this service has the kind {0}")]
    UnknownKind(String),
    /// The body is not the JSON of the kind's message; says where, and not what stands there.
    #[error("{0}")]
    Json(String),
    /// The body is the kind's message, and a field of it is wrong.
    #[error(transparent)]
    Field(#[from] FieldError),
}

impl From<serde_json::Error> for DecodeError {
    fn from(error: serde_json::Error) -> Self {
        // The error's own text quotes the body.
        let what = match error.classify() {
            serde_json::error::Category::Io => "cannot be read",
            serde_json::error::Category::Syntax => "is no JSON",
            serde_json::error::Category::Data => "does not fit the message",
            serde_json::error::Category::Eof => "ends early",
        };
        Self::Json(format!("body {what} at line {}, column {}", error.line(), error.column()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_field_is_refused_by_its_path() {
        let refusal = Refusal::from(FieldError::new("queue", "is wrong").within("case"));
        assert_eq!(refusal.reason, "INVALID_FIELD");
        assert_eq!(refusal.violations[0].field, "case.queue");
        assert_eq!(refusal.violations[0].description, "is wrong");
    }

    #[test]
    fn a_json_error_does_not_quote_the_body() {
        for body in [r#""secret""#, r#"{"customer": {"secret": 1}}"#, "secret", r#"{"secret"#] {
            let error =
                serde_json::from_str::<crate::wire::identity::CustomerCreated>(body).unwrap_err();
            let text = DecodeError::from(error).to_string();
            assert!(!text.contains("secret") && text.contains("line 1"), "{text}");
        }
    }
}
