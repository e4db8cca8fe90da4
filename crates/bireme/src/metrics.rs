//! `GET /metrics` for Prometheus, at an address of its own.
//!
//! Knows names and labels; what is counted is the front's and the supervisor's business.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use front::{BUCKETS_US, Front, Totals};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use supervise::{Handle, ServiceStatus};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

/// Scrapers that are connected at once; further ones wait in the system's queue.
const CONNECTIONS_MAX: usize = 16;
/// A scraper that sends no request for this long is cut.
const IDLE: Duration = Duration::from_secs(60);
/// After a failed accept, such as one without a free descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Where the numbers come from.
#[derive(Clone)]
pub struct Sources {
    /// `None` once it drains.
    pub front: Arc<std::sync::Mutex<Option<Front>>>,
    /// Of the workers.
    pub supervisor: Handle,
}

/// A listening socket.
pub enum Listener {
    /// Of TCP.
    Tcp(TcpListener),
    /// Of a path, which the server removes at its end.
    Unix(UnixListener),
}

impl Listener {
    /// Takes over a socket that listens. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When tokio can't watch it.
    pub fn new(socket: front::Inherited) -> io::Result<Listener> {
        Ok(match socket {
            front::Inherited::Tcp(listener) => Listener::Tcp(TcpListener::from_std(listener)?),
            front::Inherited::Unix(listener) => Listener::Unix(UnixListener::from_std(listener)?),
        })
    }
}

/// Answers scrapers until the runtime ends.
pub async fn serve(listener: Listener, sources: Sources) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // Nobody closes the semaphore.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let accepted = match &listener {
            Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| Box::new(stream) as Box<dyn Stream>),
            Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| Box::new(stream) as Box<dyn Stream>),
        };
        let Ok(stream) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let sources = sources.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request| answer(request, sources.clone()));
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(IDLE);
            // A scraper that leaves early is its own business.
            let _ = http.serve_connection(TokioIo::new(stream), answer).await;
            drop(place);
        });
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn answer(request: hyper::Request<Incoming>, sources: Sources) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, kind, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => match Snapshot::take(&sources).await.text() {
            Ok(text) => (StatusCode::OK, OPEN_METRICS, text),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{error}\n")),
        },
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET and HEAD\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "text/plain", "the numbers are at /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    Ok(response)
}

/// The numbers of one moment.
#[derive(Debug)]
struct Snapshot {
    connections: usize,
    requests: Vec<Totals>,
    services: Vec<ServiceStatus>,
}

impl Snapshot {
    async fn take(sources: &Sources) -> Snapshot {
        let (connections, requests) = {
            let front = sources.front.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            front.as_ref().map_or((0, Vec::new()), |front| (front.connections(), front.metrics()))
        };
        Snapshot { connections, requests, services: sources.supervisor.status().await }
    }

    fn text(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix("bireme");
        registry.register_collector(Box::new(self));
        let mut out = String::new();
        text::encode(&mut out, &registry)?;
        Ok(out)
    }
}

/// `[("service", "web")]`.
type Labels<'a> = Vec<(&'static str, &'a str)>;

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let out = &mut encoder;
        gauges(out, "connections", "Client connections open", None, [(Labels::new(), self.connections as i64)])?;
        let requests = || self.requests.iter();
        let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"];
        let by_class = requests().flat_map(|totals| {
            classes.iter().zip(totals.statuses).map(|(class, n)| (vec![("service", name(totals)), ("status", *class)], n))
        });
        counters(out, "responses", "Responses, by their status's first digit; no service: the front's own", None, by_class)?;
        let bytes = requests().map(|totals| (vec![("service", name(totals))], totals.body_bytes));
        counters(out, "response_body", "Bytes of responses' bodies", Some(&Unit::Bytes), bytes)?;
        self.durations(out)?;

        let workers = || {
            self.services.iter().flat_map(|s| s.workers.iter().map(|w| (vec![("service", &*s.name), ("worker", &*w.name)], w)))
        };
        let services = || self.services.iter().map(|service| (vec![("service", &*service.name)], service));
        let wanted = services().map(|(labels, service)| (labels, service.wanted as i64));
        gauges(out, "workers_wanted", "Workers that the settings ask for", None, wanted)?;
        let ready = services().map(|(labels, service)| (labels, service.ready as i64));
        gauges(out, "workers_ready", "Workers that serve", None, ready)?;
        let generation = services().map(|(labels, service)| (labels, i64::from(service.generation)));
        gauges(out, "generation", "Counts reloads, from 1", None, generation)?;
        let in_flight = workers().map(|(labels, worker)| (labels, i64::from(worker.in_flight)));
        gauges(out, "worker_in_flight", "Requests that the worker is at, open sockets included", None, in_flight)?;
        let memory = workers().filter_map(|(labels, worker)| Some((labels, i64::try_from(worker.memory_bytes?).ok()?)));
        gauges(out, "worker_resident_memory", "Resident memory of the worker", Some(&Unit::Bytes), memory)?;
        let uptime = workers().map(|(labels, worker)| (labels, worker.uptime_ms as f64 / 1e3));
        gauges(out, "worker_uptime", "Time since the worker's process was started", Some(&Unit::Seconds), uptime)?;
        let restarts = workers().map(|(labels, worker)| (labels, worker.restarts));
        counters(out, "worker_restarts", "Starts in the worker's place that followed a death", None, restarts)
    }
}

impl Snapshot {
    fn durations(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "From a request's head to its response's end";
        let mut family = out.encode_descriptor("request_duration", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for totals in &self.requests {
            let bounds = BUCKETS_US.iter().map(|&us| us as f64 / 1e6).chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(totals.buckets).collect();
            let (sum_s, count) = (totals.duration_us as f64 / 1e6, totals.buckets.iter().sum());
            family.encode_family(&[("service", name(totals))])?.encode_histogram::<NoLabelSet>(sum_s, count, &buckets, None)?;
        }
        Ok(())
    }
}

fn name(totals: &Totals) -> &str {
    &totals.service
}

fn gauges<'a, V: EncodeGaugeValue>(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    values: impl IntoIterator<Item = (Labels<'a>, V)>,
) -> fmt::Result {
    let mut family = out.encode_descriptor(name, help, unit, MetricType::Gauge)?;
    for (labels, value) in values {
        labelled(&mut family, &labels, |metric| metric.encode_gauge(&value))?;
    }
    Ok(())
}

fn counters<'a>(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    values: impl IntoIterator<Item = (Labels<'a>, u64)>,
) -> fmt::Result {
    let mut family = out.encode_descriptor(name, help, unit, MetricType::Counter)?;
    for (labels, value) in values {
        labelled(&mut family, &labels, |metric| metric.encode_counter::<NoLabelSet, _, u64>(&value, None))?;
    }
    Ok(())
}

fn labelled(
    family: &mut prometheus_client::encoding::MetricEncoder<'_>,
    labels: &impl EncodeLabelSet,
    encode: impl FnOnce(&mut prometheus_client::encoding::MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    encode(&mut family.encode_family(labels)?)
}
