//! How a service with a ledger runs: connection, host, and its two faces.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use futures::stream::{BoxStream, StreamExt as _};
use mainstem_bus::Machine;
use mainstem_bus::engine::{Settings, Span};
use mainstem_bus::nats::{
    Bus, Counted, Handle, Host, Instance, Login, Outside, Surroundings, serve_endpoints,
};
use mainstem_domain::access::{Caller, Role};
use mainstem_domain::{At, Refusal};
use mainstem_proto::wire::engine as wire;
use mainstem_proto::wire::engine::engine_service_server::{EngineService, EngineServiceServer};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;
use opentelemetry::trace::SpanKind;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService as _;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::callers::{Callers, unauthenticated};
use crate::config::{Config, Secret, ServiceConfig};
use crate::grpc::{self, caller_from_request, request_trace, status_from};
use crate::telemetry::{finish_span, start_span};
use crate::{Clock, Lifecycle};

/// What all services of one process share. Cheap to clone.
#[derive(Clone)]
pub struct Process {
    /// The whole configuration.
    pub config: Arc<Config>,
    /// The one clock.
    pub clock: Clock,
    /// Who may call.
    pub callers: Arc<Callers>,
    /// The tasks.
    pub lifecycle: Lifecycle,
    /// Tells this process from all others, now and ever.
    pub instance: Arc<str>,
}

impl Process {
    /// Reads what the configuration names.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        let clock = Clock::new(&config.clock);
        let callers = Callers::load(config.callers.file.as_deref())?;
        let lifecycle = Lifecycle::new(config.engine.drain);
        #[expect(clippy::disallowed_methods, reason = "a process has no other name of its own")]
        let instance = uuid::Uuid::now_v7().to_string().into();
        Ok(Self {
            config: Arc::new(config),
            clock,
            callers: Arc::new(callers),
            lifecycle,
            instance,
        })
    }

    /// Reads a file that the configuration names, and must name for this process.
    pub fn read(key: &str, path: Option<&Path>) -> anyhow::Result<String> {
        let path = path.with_context(|| format!("{key} is empty; name the file"))?;
        std::fs::read_to_string(path)
            .with_context(|| format!("{key}: cannot read {}", path.display()))
    }

    /// Connects to the broker as one user. One that is not there is tried again for
    /// `nats.connect_timeout_ms`: it may start at this moment, or start again.
    pub async fn connect(
        &self,
        service: &str,
        user: &str,
        password: &Secret,
    ) -> anyhow::Result<Bus> {
        let login = Login {
            url: self.config.nats.url.clone(),
            user: user.to_owned(),
            password: password.expose().to_owned(),
            tls_ca: self.config.nats.tls_ca.as_deref().map(Path::to_owned),
            name: format!("{service} {}", self.instance),
        };
        let gives_up = tokio::time::sleep(self.config.nats.connect_timeout);
        let mut gives_up = std::pin::pin!(gives_up);
        loop {
            let error = match Bus::connect(&login).await {
                Ok(bus) => return Ok(bus),
                Err(error) if error.passes() => error,
                Err(error) => return Err(error.into()),
            };
            tokio::select! {
                () = &mut gives_up => return Err(error.into()),
                () = tokio::time::sleep(CONNECT_AGAIN) => {}
            }
        }
    }
}

/// The pause before a broker that is not there is tried again.
const CONNECT_AGAIN: Duration = Duration::from_millis(100);

struct Around {
    clock: Clock,
    dead_letters: Counter<u64>,
    voided: Counter<u64>,
    gauges: Mutex<BTreeMap<&'static str, opentelemetry::metrics::Gauge<u64>>>,
}

impl Around {
    fn new(clock: Clock) -> Self {
        let meter = opentelemetry::global::meter("mainstem");
        Self {
            clock,
            dead_letters: meter
                .u64_counter("mainstem.dead_letters")
                .with_description("Upstream messages that could not be read")
                .build(),
            voided: meter
                .u64_counter("mainstem.records.voided")
                .with_description("Records that count for nobody: an old writer's, or a stranger's")
                .build(),
            gauges: Mutex::default(),
        }
    }
}

impl Surroundings for Around {
    fn now(&self) -> At {
        self.clock.now()
    }

    fn observe(&self, broker: i64) {
        self.clock.observe(broker);
    }

    fn real(&self, span: Duration) -> Duration {
        self.clock.real_duration(span)
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    fn count(&self, service: &'static str, what: Counted) {
        let counter = match what {
            Counted::DeadLetter => &self.dead_letters,
            Counted::Voided => &self.voided,
        };
        counter.add(1, &[KeyValue::new("mainstem.service", service)]);
    }

    fn gauge(&self, service: &'static str, gauge: mainstem_bus::Gauge) {
        let mut gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        let made = gauges.entry(gauge.name).or_insert_with(|| {
            opentelemetry::global::meter("mainstem").u64_gauge(gauge.name).build()
        });
        made.record(gauge.value, &[KeyValue::new("mainstem.service", service)]);
    }

    fn span_start(&self) -> Option<SystemTime> {
        start_span()
    }

    fn span_end(&self, start: SystemTime, service: &'static str, span: Span) {
        let name = match span.from {
            "command" => "process command",
            "due" => "process due",
            _ => "process stream",
        };
        let attributes = vec![
            KeyValue::new("messaging.system", "nats"),
            KeyValue::new("messaging.destination.name", span.from),
            KeyValue::new("mainstem.service", service),
        ];
        finish_span(name, SpanKind::Consumer, span.context, span.parent, Some(start), attributes);
    }
}

/// The machine's clock, for spans, which tell real durations whatever the virtual clock does.
#[expect(clippy::disallowed_methods, reason = "spans tell real time")]
pub fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// A machine with a gRPC service.
pub trait Grpc: Machine {
    /// The full name of the gRPC service.
    const NAME: &'static str;

    /// Adds the service to a server.
    fn add_to(routes: Routes, face: Face) -> Routes;
}

/// Where a running service can be reached.
pub struct Started {
    /// Its gRPC server.
    pub grpc: SocketAddr,
    /// Its use cases, within this process.
    pub handle: Handle,
}

/// Starts a service with a ledger: its host and both its faces.
pub async fn start<M: Grpc>(process: &Process, section: &ServiceConfig) -> anyhow::Result<Started> {
    begin::<M>(process, section, |_| None).await
}

/// The same for a service with methods that need more than its state; see [`Outside`]. It is made
/// with the service's own connection.
pub async fn start_with<M: Grpc>(
    process: &Process,
    section: &ServiceConfig,
    outside: impl FnOnce(&Bus) -> Arc<dyn Outside>,
) -> anyhow::Result<Started> {
    begin::<M>(process, section, |bus| Some(outside(bus))).await
}

async fn begin<M: Grpc>(
    process: &Process,
    section: &ServiceConfig,
    outside: impl FnOnce(&Bus) -> Option<Arc<dyn Outside>>,
) -> anyhow::Result<Started> {
    let Process { config, clock, callers, lifecycle, instance } = process;
    let bus = process.connect(M::SERVICE, &section.nats_user, &section.nats_password).await?;
    let engine = &config.engine;
    let instance = Instance {
        name: instance.to_string(),
        settings: Settings {
            position_every_inputs: engine.position_every_inputs,
            position_every: engine.position_every,
            ..Settings::default()
        },
        lease_renew: engine.lease_renew,
        snapshot_every_records: engine.snapshot_every_records,
        snapshot_every: engine.snapshot_every,
        drain: lifecycle.drain(),
        surroundings: Arc::new(Around::new(clock.clone())),
    };
    let (host, mut handle) = Host::<M>::open(bus.clone(), instance.clone()).await?;
    if let Some(outside) = outside(&bus) {
        handle = handle.with_outside(outside);
    }

    let listener = TcpListener::bind(section.grpc_listen)
        .await
        .with_context(|| format!("cannot listen on {} for {}", section.grpc_listen, M::SERVICE))?;
    let address = listener.local_addr()?;
    let face = Face {
        handle: handle.clone(),
        callers: Arc::clone(callers),
        calls: Arc::default(),
        instance: instance.name.into(),
        bus: bus.clone(),
        stop: lifecycle.stopping(),
    };
    let names = [M::NAME, EngineServiceServer::<Face>::NAME];
    let (routes, health) = grpc::standard_routes(&names).await?;
    let routes = M::add_to(routes, face.clone()).add_service(EngineServiceServer::new(face));
    let tls = grpc::server_tls(&config.grpc)?;

    let stop = lifecycle.stopping();
    lifecycle.spawn(format!("{} engine", M::SERVICE), {
        let stop = stop.clone();
        async move { Ok(host.run(stop).await?) }
    });
    lifecycle
        .spawn(format!("{} gRPC", M::SERVICE), grpc::serve(listener, routes, tls, stop.clone()));
    lifecycle.spawn(format!("{} endpoints", M::SERVICE), {
        let (handle, stop, callers) = (handle.clone(), stop.clone(), Arc::clone(callers));
        let authenticate = Arc::new(move |token: Option<&str>| match token {
            Some(token) => callers.authenticate_bearer(token).cloned(),
            None => Err(unauthenticated(
                "NO_CREDENTIALS",
                "send the header `Authorization: Bearer` and a token",
            )),
        });
        let version = env!("CARGO_PKG_VERSION");
        async move {
            serve_endpoints(bus, handle, version, M::NAME, authenticate, stop).await?;
            Ok(())
        }
    });
    lifecycle.spawn(format!("{} health", M::SERVICE), {
        let handle = handle.clone();
        async move {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                // A writer has begun an epoch, and a standby has read one.
                () = handle.wait_until(|status| status.epoch > 0) => health.set_ready(true).await,
            }
            stop.cancelled().await;
            health.set_ready(false).await;
            Ok(())
        }
    });
    tracing::info!(service = M::SERVICE, grpc = %address, "listens");
    Ok(Started { grpc: address, handle })
}

/// The gRPC face of a service: every method is the same use case as its NATS endpoint.
#[derive(Clone)]
pub struct Face {
    handle: Handle,
    callers: Arc<Callers>,
    calls: Arc<AtomicU64>,
    instance: Arc<str>,
    bus: Bus,
    stop: CancellationToken,
}

/// What a streaming method works with.
pub struct Watch {
    /// The service's use cases.
    pub handle: Handle,
    /// The service's connection.
    pub bus: Bus,
    /// Who asks. The role was checked, the scope was not.
    pub caller: Caller,
    /// Names the call.
    pub call_id: String,
    /// When to end, with `UNAVAILABLE`, so that the client comes again.
    pub stop: CancellationToken,
}

/// What a streaming method answers, before it stands on the wire.
pub type Told<T> = BoxStream<'static, Result<T, Refusal>>;

/// What a streaming method answers.
pub type Answers<T> = BoxStream<'static, Result<T, Status>>;

/// The answer of a streaming method.
pub fn streamed<T: 'static>(
    opened: Result<Told<T>, Refusal>,
) -> Result<Response<Answers<T>>, Status> {
    let told = opened.map_err(|refusal| status_from(&refusal))?;
    Ok(Response::new(told.map(|told| told.map_err(|refusal| status_from(&refusal))).boxed()))
}

impl Face {
    /// Lets a caller into a streaming method.
    pub fn admit<Ask>(
        &self,
        method: &'static str,
        roles: &[Role],
        request: Request<Ask>,
    ) -> Result<(Watch, Ask), Status> {
        let caller = caller_from_request(&self.callers, request.metadata(), request.peer_certs());
        let caller = caller.and_then(|caller| caller.admit(method, roles).map(|()| caller));
        let watch = Watch {
            handle: self.handle.clone(),
            bus: self.bus.clone(),
            caller: caller.map_err(|refusal| status_from(&refusal))?,
            call_id: self.call_id(),
            stop: self.stop.clone(),
        };
        Ok((watch, request.into_inner()))
    }

    fn call_id(&self) -> String {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        format!("{}/{number}", self.instance)
    }

    /// Does what the method says.
    pub async fn call<Ask: Serialize, Answer: DeserializeOwned>(
        &self,
        method: &'static str,
        request: Request<Ask>,
    ) -> Result<Response<Answer>, Status> {
        let caller = caller_from_request(&self.callers, request.metadata(), request.peer_certs());
        let caller = caller.map_err(|refusal| status_from(&refusal))?;
        let trace = request_trace(request.metadata());
        let body = serde_json::to_vec(request.get_ref()).map_err(|_| {
            Status::invalid_argument("the request has an enum value or a time that does not exist")
        })?;
        let answer = self.handle.call(method, caller, &body, trace, self.call_id()).await;
        let answer = answer.map_err(|refusal| status_from(&refusal))?;
        serde_json::from_str(&answer)
            .map(Response::new)
            .map_err(|_| Status::internal("the answer is of another version of this service"))
    }
}

/// Implements a generated gRPC service for [`Face`] and [`Grpc`] for its machine.
///
/// Methods that answer with a stream have no NATS endpoint. Each names its type in the generated
/// trait, its roles, and the function that opens it:
/// `async fn(Watch, Ask) -> Result<Told<Answer>, Refusal>`.
#[macro_export]
macro_rules! grpc_face {
    ($machine:ty, $server:ident, $service:path, $wire:path, {
        $($method:ident => $name:literal: $ask:ident -> $answer:ident),+ $(,)?
    } $(, streams {
        $($stream:ident => $stream_name:literal: $stream_ask:ident -> $stream_answer:ident
            as $stream_type:ident, for $roles:expr, by $open:path);+ $(;)?
    })? $(,)?) => {
        const _: () = {
            use $wire as wire;

            /// Orphan rules want a type of this crate.
            #[derive(Clone)]
            pub struct Methods($crate::service::Face);

            #[tonic::async_trait]
            impl $service for Methods {
                $(async fn $method(
                    &self,
                    request: tonic::Request<wire::$ask>,
                ) -> Result<tonic::Response<wire::$answer>, tonic::Status> {
                    self.0.call($name, request).await
                })+

                $($(
                    type $stream_type = $crate::service::Answers<wire::$stream_answer>;

                    async fn $stream(
                        &self,
                        request: tonic::Request<wire::$stream_ask>,
                    ) -> Result<tonic::Response<Self::$stream_type>, tonic::Status> {
                        let (watch, ask) = self.0.admit($stream_name, $roles, request)?;
                        $crate::service::streamed($open(watch, ask).await)
                    }
                )+)?
            }

            impl $crate::service::Grpc for $machine {
                const NAME: &'static str = <$server<Methods> as tonic::server::NamedService>::NAME;

                fn add_to(
                    routes: tonic::service::Routes,
                    face: $crate::service::Face,
                ) -> tonic::service::Routes {
                    routes.add_service($server::new(Methods(face)))
                }
            }
        };
    };
}

#[tonic::async_trait]
impl EngineService for Face {
    async fn get_status(
        &self,
        request: Request<wire::GetStatusRequest>,
    ) -> Result<Response<wire::GetStatusResponse>, Status> {
        self.call("GetStatus", request).await
    }

    async fn apply_configuration(
        &self,
        request: Request<wire::ApplyConfigurationRequest>,
    ) -> Result<Response<wire::ApplyConfigurationResponse>, Status> {
        self.call("ApplyConfiguration", request).await
    }
}
