//! The NATS users of a deployment: the server's configuration, and who a service is on it.
//!
//! A test on a server with users proves that what it does is also permitted; one on a server
//! without is shorter and sees more of the server.

use std::path::Path;

use mainstem_bus::permissions::{self, ADMIN, password_variable};

/// The sections of the configuration whose process has a NATS user of its own, and that user.
const SECTIONS: [(&str, &str); 6] = [
    ("IDENTITY_MERGE", "identity-merge"),
    ("ROUTING", "routing"),
    ("NOTIFICATION", "notification"),
    ("INGRESS", "ingress"),
    ("SENDER", "sender"),
    ("OPERATOR", "operator"),
];

/// The user that a test itself is.
pub const TEST: &str = ADMIN;

/// The password of a user.
#[must_use]
pub fn password(user: &str) -> String {
    format!("password-of-{user}")
}

/// Writes what nats-server reads with `-c`: room for the largest event, more, and, if wanted, the
/// generated users, each with its password.
///
/// # Errors
/// When the file cannot be written.
pub fn write(file: &Path, users: bool, more: &str) -> std::io::Result<()> {
    let mut config = format!("max_payload: 4MB\n{more}");
    if users {
        config.push_str(&permissions::server_users());
    }
    for user in permissions::users() {
        let variable = format!("${},", password_variable(user.name));
        config = config.replace(&variable, &format!("{:?},", password(user.name)));
    }
    std::fs::write(file, config)
}

/// What a process is told, so that it is its user.
#[must_use]
pub fn environment() -> Vec<(String, String)> {
    SECTIONS
        .into_iter()
        .flat_map(|(section, user)| {
            [
                (format!("MAINSTEM__{section}__NATS_USER"), user.to_owned()),
                (format!("MAINSTEM__{section}__NATS_PASSWORD"), password(user)),
            ]
        })
        .collect()
}
