//! Refusals as gRPC statuses with the details of AIP-193, and back.

use std::collections::HashMap;
use std::time::Duration;

use mainstem_domain::{Refusal, RefusalCode, Violation};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

/// The `ErrorInfo.domain` of all our refusals.
const DOMAIN: &str = "mainstem";

/// When to send again what nobody could take.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Details travel in one header, whose length clients limit.
const MOST_VIOLATIONS: usize = 32;

/// The status of a refusal. Carries `ErrorInfo` always, and what else belongs to its code.
pub fn status_from(refusal: &Refusal) -> Status {
    let metadata: HashMap<String, String> =
        refusal.metadata.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    let mut details = ErrorDetails::with_error_info(&refusal.reason, DOMAIN, metadata);
    if !refusal.violations.is_empty() {
        let violations = refusal.violations.iter().take(MOST_VIOLATIONS);
        let violations: Vec<_> = violations
            .map(|violation| FieldViolation::new(&violation.field, &violation.description))
            .collect();
        details.set_bad_request(violations);
    }
    match refusal.code {
        RefusalCode::FailedPrecondition => {
            details.add_precondition_failure_violation(&refusal.reason, DOMAIN, &refusal.message);
        }
        RefusalCode::Unavailable => {
            details.set_retry_info(Some(RETRY_AFTER));
        }
        RefusalCode::InvalidArgument
        | RefusalCode::Unauthenticated
        | RefusalCode::PermissionDenied
        | RefusalCode::NotFound
        | RefusalCode::AlreadyExists
        | RefusalCode::ResourceExhausted
        | RefusalCode::Internal => {}
    }
    Status::with_error_details(code(refusal.code), &refusal.message, details)
}

/// What a status says. One that is not ours (a proxy's, or the transport's) has the reason
/// `NOT_FROM_MAINSTEM` and its code among the metadata.
pub fn refusal_from(status: &Status) -> Refusal {
    let refusal = |reason: &str| Refusal::new(kind(status.code()), reason, status.message());
    let details = status.get_error_details();
    let Some(info) = details.error_info().filter(|info| info.domain == DOMAIN) else {
        return refusal("NOT_FROM_MAINSTEM").with("grpc_code", &format!("{:?}", status.code()));
    };
    let violations = details.bad_request().map(|request| {
        let violations = request.field_violations.iter();
        violations.map(|violation| Violation {
            field: violation.field.clone(),
            description: violation.description.clone(),
        })
    });
    Refusal {
        violations: violations.into_iter().flatten().collect(),
        metadata: info.metadata.clone().into_iter().collect(),
        ..refusal(&info.reason)
    }
}

fn code(code: RefusalCode) -> Code {
    match code {
        RefusalCode::InvalidArgument => Code::InvalidArgument,
        RefusalCode::Unauthenticated => Code::Unauthenticated,
        RefusalCode::PermissionDenied => Code::PermissionDenied,
        RefusalCode::NotFound => Code::NotFound,
        RefusalCode::FailedPrecondition => Code::FailedPrecondition,
        RefusalCode::AlreadyExists => Code::AlreadyExists,
        RefusalCode::ResourceExhausted => Code::ResourceExhausted,
        RefusalCode::Unavailable => Code::Unavailable,
        RefusalCode::Internal => Code::Internal,
    }
}

fn kind(code: Code) -> RefusalCode {
    match code {
        Code::InvalidArgument | Code::OutOfRange => RefusalCode::InvalidArgument,
        Code::Unauthenticated => RefusalCode::Unauthenticated,
        Code::PermissionDenied => RefusalCode::PermissionDenied,
        Code::NotFound => RefusalCode::NotFound,
        Code::FailedPrecondition => RefusalCode::FailedPrecondition,
        Code::AlreadyExists => RefusalCode::AlreadyExists,
        Code::ResourceExhausted => RefusalCode::ResourceExhausted,
        // The outcome is unknown; the same request_id makes it safe to ask again.
        Code::Unavailable | Code::Aborted | Code::Cancelled | Code::DeadlineExceeded => {
            RefusalCode::Unavailable
        }
        Code::Ok | Code::Unknown | Code::Unimplemented | Code::Internal | Code::DataLoss => {
            RefusalCode::Internal
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODES: [RefusalCode; 9] = [
        RefusalCode::InvalidArgument,
        RefusalCode::Unauthenticated,
        RefusalCode::PermissionDenied,
        RefusalCode::NotFound,
        RefusalCode::FailedPrecondition,
        RefusalCode::AlreadyExists,
        RefusalCode::ResourceExhausted,
        RefusalCode::Unavailable,
        RefusalCode::Internal,
    ];

    #[test]
    fn a_refusal_comes_back_as_it_was() {
        for code in CODES {
            let refusal = Refusal::new(code, "SOME_REASON", "what to do").with("holder", "unit/a");
            let status = status_from(&refusal);
            assert_eq!(refusal_from(&status), refusal);
            let details = status.get_error_details();
            assert_eq!(details.error_info().unwrap().domain, "mainstem");
            assert_eq!(details.retry_info().is_some(), code == RefusalCode::Unavailable);
            let precondition = code == RefusalCode::FailedPrecondition;
            assert_eq!(details.precondition_failure().is_some(), precondition);
        }
        let refusal = Refusal::field("identifier", "write phone:+886…");
        let status = status_from(&refusal);
        assert_eq!(refusal_from(&status), refusal);
        assert_eq!(status.get_error_details().bad_request().unwrap().field_violations.len(), 1);
    }

    #[test]
    fn many_violations_still_fit_a_header() {
        let mut refusal = Refusal::field("identifier", "x");
        refusal.violations = vec![refusal.violations[0].clone(); 10_000];
        assert!(status_from(&refusal).details().len() < 4_096);
    }

    #[test]
    fn a_status_from_elsewhere_is_told_apart() {
        let refusal = refusal_from(&Status::deadline_exceeded("too slow"));
        assert_eq!(
            (refusal.code, &*refusal.reason),
            (RefusalCode::Unavailable, "NOT_FROM_MAINSTEM")
        );
        assert_eq!(refusal.metadata["grpc_code"], "DeadlineExceeded");
        let garbage = Status::with_details(Code::Internal, "x", vec![255; 9].into());
        assert_eq!(refusal_from(&garbage).reason, "NOT_FROM_MAINSTEM");
    }
}
