use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// `GET /healthz`: 200 as long as the sender can take items off, 503 with the reason while it
/// cannot. A sender whose loop has ended answers nothing, because its process ends too.
pub(crate) fn router(connected: impl Fn() -> bool + Clone + Send + Sync + 'static) -> Router {
    Router::new().route(
        "/healthz",
        get(async move || {
            if connected() {
                (StatusCode::OK, "the sender sends\n")
            } else {
                (StatusCode::SERVICE_UNAVAILABLE, "no connection to NATS; it is tried again\n")
            }
        }),
    )
}

/// Serves until `shutdown`.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn it_is_well_while_it_is_connected() {
        let connected = Arc::new(AtomicBool::new(true));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/healthz", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let asked = Arc::clone(&connected);
        let served = serve(listener, router(move || asked.load(Ordering::SeqCst)), stop.clone());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let status = async || client.get(&url).send().await.unwrap().status().as_u16();
        let asks = async {
            assert_eq!(status().await, 200);
            connected.store(false, Ordering::SeqCst);
            assert_eq!(status().await, 503);
            stop.cancel();
        };
        let (served, ()) = tokio::join!(served, asks);
        served.unwrap();
    }
}
