use std::sync::Arc;
use std::time::Duration;

use mainstem_domain::At;
use mainstem_line::Channel;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::call::{CallError, Caller};

/// A token that ends in less than this is renewed.
const RENEW_BEFORE: Duration = Duration::from_mins(3);
/// When LINE did not issue one, the old one serves so long until it is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(10);

const TOKEN_PATH: &str = "/oauth2/v3/token";

/// The right of one account to call.
pub(crate) enum Access {
    /// It stands in the channels file, until somebody changes it.
    Fixed(Arc<SecretString>),
    /// It is asked for, with the newest secret that LINE takes.
    Issued { client_id: String, client_secrets: Vec<SecretString>, token: Mutex<Option<Token>> },
}

pub(crate) struct Token {
    secret: Arc<SecretString>,
    renew_at: At,
    ends_at: At,
}

#[derive(Deserialize)]
struct Issue {
    access_token: SecretString,
    /// Seconds.
    expires_in: u64,
}

impl Access {
    pub(crate) fn new(channel: &Channel) -> Self {
        match (&channel.channel_id, &channel.access_token) {
            (Some(client_id), _) => Self::Issued {
                client_id: client_id.clone(),
                client_secrets: [Some(&channel.secret), channel.previous_secret.as_ref()]
                    .into_iter()
                    .flatten()
                    .cloned()
                    .collect(),
                token: Mutex::default(),
            },
            // The channels file is refused when it has neither.
            (None, token) => Self::Fixed(Arc::new(token.clone().unwrap_or_default())),
        }
    }

    /// A token that LINE should take. Whoever asks meanwhile waits for the same one.
    pub(crate) async fn token(&self, caller: &Caller) -> Result<Arc<SecretString>, CallError> {
        let (client_id, client_secrets, token) = match self {
            Self::Fixed(token) => return Ok(token.clone()),
            Self::Issued { client_id, client_secrets, token } => (client_id, client_secrets, token),
        };
        let mut held = token.lock().await;
        let now = caller.now();
        if let Some(token) = held.as_ref().filter(|token| now < token.renew_at) {
            return Ok(token.secret.clone());
        }
        match issue(caller, client_id, client_secrets).await {
            Ok(issue) => {
                let ends_at = now.after(Duration::from_secs(issue.expires_in));
                let lives = ends_at.since(now);
                // Of a token that lives for less than that, the last half is left.
                let renew_at = now.after(lives.saturating_sub(RENEW_BEFORE).max(lives / 2));
                let secret = Arc::new(issue.access_token);
                *held = Some(Token { secret: secret.clone(), renew_at, ends_at });
                Ok(secret)
            }
            Err(error) => match held.as_mut().filter(|token| now < token.ends_at) {
                Some(token) => {
                    tracing::warn!(%error, "an access token is not renewed yet");
                    token.renew_at = now.after(TRY_AGAIN);
                    Ok(token.secret.clone())
                }
                None => Err(error),
            },
        }
    }

    /// LINE does not take this one: whether there will be another.
    pub(crate) async fn refused(&self, secret: &Arc<SecretString>) -> bool {
        match self {
            Self::Fixed(_) => false,
            Self::Issued { token, .. } => {
                let mut held = token.lock().await;
                if held.as_ref().is_some_and(|token| Arc::ptr_eq(&token.secret, secret)) {
                    *held = None;
                }
                true
            }
        }
    }
}

/// While a secret is reissued, LINE takes one of two.
async fn issue(
    caller: &Caller,
    client_id: &str,
    client_secrets: &[SecretString],
) -> Result<Issue, CallError> {
    let mut last = Err(CallError::Unreadable);
    for client_secret in client_secrets {
        last = issue_for(caller, client_id, client_secret).await;
        if !matches!(last, Err(CallError::NoAccess { .. })) {
            break;
        }
    }
    last
}

async fn issue_for(
    caller: &Caller,
    client_id: &str,
    client_secret: &SecretString,
) -> Result<Issue, CallError> {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", client_id),
        ("client_secret", client_secret.expose_secret()),
    ];
    let answer = match caller.ask(caller.post(TOKEN_PATH).form(&form)).await {
        // LINE says 400 to credentials that it does not know.
        Err(CallError::Refused { status: 400, message }) => {
            return Err(CallError::NoAccess { message });
        }
        answer => answer?,
    };
    serde_json::from_slice(&answer).map_err(|_| CallError::Unreadable)
}
