//! The configuration in the form that a front thread works with.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use config::{Settings, Sticky, Target, TrustedProxies};

use crate::compress::Compressor;
use crate::http1::HeadLimits;
use crate::pool::{Pool, PoolLimits};
use crate::static_files::{Root, Store};

/// One thread's configuration; replaced as a whole on reload, while requests go on with the old one.
#[derive(Debug)]
pub struct Active {
    /// As resolved.
    pub settings: Arc<Settings>,
    /// Finds a route's index.
    pub table: route::Table,
    /// By index.
    pub routes: Vec<Rc<ActiveRoute>>,
    /// Proxies that are believed.
    pub trust: TrustedProxies,
    /// Bounds on HTTP/1 heads.
    pub head_limits: HeadLimits,
    /// Compresses what applications did not.
    pub compressor: Compressor,
    /// Compresses WebSockets' messages.
    pub websocket_pool: Rc<websocket::Pool>,
}

/// Settings that can't be put to work.
#[derive(Debug)]
pub enum Unusable {
    /// A route's pattern or host can't be read.
    Route(route::Error),
    /// A folder of static files can't be opened; the message names it.
    Folder(std::io::Error),
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unusable::Route(error) => error.fmt(f),
            Unusable::Folder(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Unusable {}

/// One route.
#[derive(Debug)]
pub struct ActiveRoute {
    /// Where it goes.
    pub target: ActiveTarget,
    /// What the application does not see of the path.
    pub strip_prefix: Option<String>,
    /// Most body bytes; `None` has no limit.
    pub body_bytes_max: Option<u64>,
    /// `None` waits for ever.
    pub response_timeout: Option<Duration>,
    /// Whether its service's WebSockets outlive their workers.
    pub survive: bool,
    /// Which worker of its service a request prefers.
    pub sticky: Option<Sticky>,
    /// Who else is asked a part of the requests.
    pub shadow: Option<ActiveShadow>,
    /// Set on every response.
    pub response_fields: Vec<(String, String)>,
}

/// See [`config::Shadow`].
#[derive(Debug)]
pub struct ActiveShadow {
    /// The candidate's pool.
    pub pool: Rc<Pool>,
    /// The route's pattern, for reports.
    pub pattern: Arc<str>,
    /// Part of the requests that is copied, in millionths.
    pub sample_millionths: u32,
    /// What has gathered towards the next copy, in millionths.
    pub gathered: Cell<u32>,
}

/// Where a route goes.
#[derive(Debug)]
pub enum ActiveTarget {
    /// To a worker of this pool.
    Service(Rc<Pool>),
    /// To files.
    Static(Root),
    /// See [`Target::Redirect`].
    Redirect {
        /// 3xx.
        status: u16,
        /// With placeholders.
        location: String,
    },
    /// See [`Target::Respond`].
    Respond {
        /// 200–599.
        status: u16,
        /// Of the body.
        content_type: String,
        /// The content.
        body: Bytes,
    },
}

impl Active {
    /// Resolves routes; `pool` gives a service's pool, the same one on every reload.
    pub fn new(
        settings: Arc<Settings>,
        store: &Store,
        mut pool: impl FnMut(&Arc<str>, PoolLimits) -> Rc<Pool>,
    ) -> Result<Active, Unusable> {
        let rules = settings.routes.iter().map(|route| route::Rule {
            hosts: route.hosts.clone(),
            methods: route.methods.clone(),
            path: route.path.clone(),
        });
        let table = route::Table::new(rules.collect()).map_err(Unusable::Route)?;
        for service in &settings.services {
            pool(&service.name, pool_limits(service));
        }
        let routes = settings.routes.iter().map(|route| {
            let (mut survive, mut sticky) = (false, None);
            let shadow = route.shadow.as_ref().map(|shadow| {
                let service = settings.services.iter().find(|service| service.name == shadow.service);
                ActiveShadow {
                    pool: pool(&shadow.service, service.map_or(NO_SERVICE, pool_limits)),
                    pattern: route.path.as_str().into(),
                    sample_millionths: shadow.sample_millionths,
                    gathered: Cell::new(0),
                }
            });
            let target = match &route.to {
                Target::Service(name) => {
                    let service = settings.services.iter().find(|service| service.name == *name);
                    survive = service.is_some_and(|service| service.survive);
                    sticky = service.and_then(|service| service.sticky.clone());
                    ActiveTarget::Service(pool(name, service.map_or(NO_SERVICE, pool_limits)))
                }
                Target::Static(files) => {
                    let root = store.root(files, &settings.compression, &route.response_fields);
                    ActiveTarget::Static(root.map_err(Unusable::Folder)?)
                }
                Target::Redirect { status, location } => ActiveTarget::Redirect { status: *status, location: location.clone() },
                Target::Respond { status, content_type, body } => ActiveTarget::Respond {
                    status: *status,
                    content_type: content_type.clone(),
                    body: Bytes::copy_from_slice(body.as_bytes()),
                },
            };
            Ok(Rc::new(ActiveRoute {
                target,
                strip_prefix: route.strip_prefix.clone(),
                body_bytes_max: route.body_bytes_max.unwrap_or(settings.limits.body_bytes_max),
                response_timeout: route.response_timeout.unwrap_or(settings.timeouts.response),
                survive,
                sticky,
                shadow,
                response_fields: route.response_fields.clone(),
            }))
        });
        let routes = routes.collect::<Result<_, _>>()?;
        Ok(Active {
            table,
            routes,
            trust: settings.trusted_proxies.clone(),
            head_limits: HeadLimits {
                header_bytes_max: settings.limits.header_bytes_max,
                fields_max: settings.limits.fields_max.min(crate::http1::FIELDS_MAX),
                target_bytes_max: settings.limits.target_bytes_max,
            },
            compressor: Compressor::new(&settings.compression),
            websocket_pool: crate::websocket::pool(&settings.websocket),
            settings,
        })
    }

    /// Says what is wrong with settings before any thread works by them.
    pub fn validate(settings: &Arc<Settings>) -> Result<(), Unusable> {
        let store = Store::new(&settings.static_cache);
        Active::new(settings.clone(), &store, |name, limits| Pool::new(name.clone(), limits, None)).map(drop)
    }
}

/// `config` refuses routes to unknown services, so nothing ever waits with these.
const NO_SERVICE: PoolLimits = PoolLimits { streams_per_link_max: 0, queue_requests_max: 0, queue_timeout: Duration::ZERO };

fn pool_limits(service: &config::Service) -> PoolLimits {
    PoolLimits {
        streams_per_link_max: service.in_flight_max,
        queue_requests_max: service.queue_requests_max,
        queue_timeout: service.queue_timeout,
    }
}
