//! How often one client and one token may ask.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, MonotonicClock},
    middleware::StateInformationMiddleware,
    state::keyed::DashMapStateStore,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::problem::Problem;

/// Quotas count over a minute.
const WINDOW: Duration = Duration::from_secs(60);

/// Clients that are remembered; beyond, newcomers share one quota, so a flood of addresses costs no memory.
const MAX_CLIENTS: usize = 10_000;

/// How many checks pass between two cleanings of the memory.
const CLEAN_EVERY: u32 = 1_024;

/// Registered problem type for a client that asked too often.
const QUOTA_EXCEEDED: &str = "https://iana.org/assignments/http-problem-types#quota-exceeded";

/// Counts requests by client and by token.
pub(crate) struct Limiter {
    buckets: RateLimiter<Key, DashMapStateStore<Key>, MonotonicClock, StateInformationMiddleware>,
    quota: NonZeroU32,
    checks: AtomicU32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Client(IpAddr),
    /// All clients beyond [`MAX_CLIENTS`].
    OtherClients,
    Token([u8; 32]),
}

/// Where a client stands with one quota.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    policy: &'static str,
    quota: u32,
    remaining: u32,
    /// Seconds until the quota is whole again; with nothing remaining, until the next request may come.
    reset: u64,
}

impl Limiter {
    pub(crate) fn new(requests_per_minute: u32) -> Self {
        let quota = NonZeroU32::new(requests_per_minute).unwrap_or(NonZeroU32::MIN);
        let buckets = RateLimiter::dashmap_with_clock(Quota::per_minute(quota), MonotonicClock);
        Self { buckets: buckets.with_middleware(), quota, checks: AtomicU32::new(0) }
    }

    /// Counts a request of a client; without an address, of the one unknown client.
    pub(crate) fn check_client(&self, client: Option<IpAddr>, limits: &mut Vec<Limit>) -> Result<(), Problem> {
        if self.checks.fetch_add(1, Ordering::Relaxed) % CLEAN_EVERY == CLEAN_EVERY - 1 {
            self.buckets.retain_recent();
        }
        let known = self.buckets.len() < MAX_CLIENTS;
        let client = network_of(client.unwrap_or(Ipv4Addr::UNSPECIFIED.into()));
        self.check("client", &if known { Key::Client(client) } else { Key::OtherClients }, limits)
    }

    /// Counts a request that carried a token.
    pub(crate) fn check_token(&self, token: &blake3::Hash, limits: &mut Vec<Limit>) -> Result<(), Problem> {
        self.check("token", &Key::Token(*token.as_bytes()), limits)
    }

    fn check(&self, policy: &'static str, key: &Key, limits: &mut Vec<Limit>) -> Result<(), Problem> {
        let quota = self.quota.get();
        match self.buckets.check_key(key) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                let used = f64::from(quota - remaining.min(quota));
                let reset = (WINDOW.as_secs_f64() * used / f64::from(quota)).ceil() as u64;
                limits.push(Limit { policy, quota, remaining, reset });
                Ok(())
            }
            Err(until) => {
                let wait = until.wait_time_from(MonotonicClock.now()).as_secs_f64().ceil().max(1.0) as u64;
                limits.push(Limit { policy, quota, remaining: 0, reset: wait });
                let detail =
                    format!("more than {quota} requests a minute came from one {policy} (come again in {wait} s)");
                Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)
                    .kind(QUOTA_EXCEEDED)
                    .with("violated-policies", vec![policy])
                    .retry_after(wait))
            }
        }
    }
}

impl Limit {
    /// Writes `RateLimit-Policy` and `RateLimit` (a draft still: this is the only place that knows their form).
    pub(crate) fn describe(limits: &[Self], headers: &mut HeaderMap) {
        if limits.is_empty() {
            return;
        }
        let policy = |limit: &Self| format!("\"{}\";q={};w={}", limit.policy, limit.quota, WINDOW.as_secs());
        let state = |limit: &Self| format!("\"{}\";r={};t={}", limit.policy, limit.remaining, limit.reset);
        let list = |form: &dyn Fn(&Self) -> String| limits.iter().map(form).collect::<Vec<_>>().join(", ");
        for (name, value) in [("ratelimit-policy", list(&policy)), ("ratelimit", list(&state))] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }
}

/// One client of IPv6 has a whole /64 to choose addresses from, so that is what is counted.
fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_asks_too_often_is_told_when_to_come_again_and_others_are_not_touched() {
        let limiter = Limiter::new(2);
        let client = Some(IpAddr::from([10, 0, 0, 1]));
        let mut limits = Vec::new();
        limiter.check_client(client, &mut limits).unwrap();
        limiter.check_client(client, &mut limits).unwrap();
        assert_eq!(limits.iter().map(|limit| limit.remaining).collect::<Vec<_>>(), [1, 0]);
        let problem = format!("{:?}", limiter.check_client(client, &mut limits).unwrap_err());
        assert!(problem.contains("429") && problem.contains("violated-policies"), "{problem}");
        assert!((1..=30).contains(&limits[2].reset), "{:?}", limits[2]);
        limiter.check_client(Some(IpAddr::from([10, 0, 0, 2])), &mut limits).unwrap();
    }

    #[test]
    fn addresses_of_one_network_share_a_quota() {
        let limiter = Limiter::new(1);
        let mut limits = Vec::new();
        limiter.check_client("2001:db8::1".parse().ok(), &mut limits).unwrap();
        assert!(limiter.check_client("2001:db8::ffff:2".parse().ok(), &mut limits).is_err());
        limiter.check_client("2001:db8:0:1::1".parse().ok(), &mut limits).unwrap();
        assert_eq!(network_of("::ffff:10.0.0.1".parse().unwrap()), IpAddr::from([10, 0, 0, 1]));
    }

    #[test]
    fn a_flood_of_addresses_costs_no_memory() {
        let limiter = Limiter::new(5);
        let mut limits = Vec::new();
        for number in 0..MAX_CLIENTS as u32 + 1_000 {
            let _ = limiter.check_client(Some(Ipv4Addr::from_bits(number).into()), &mut limits);
            limits.clear();
        }
        assert!(limiter.buckets.len() <= MAX_CLIENTS + 1, "{}", limiter.buckets.len());
    }

    #[test]
    fn the_headers_have_the_form_of_the_draft() {
        let mut headers = HeaderMap::new();
        let limit = Limit { policy: "client", quota: 100, remaining: 50, reset: 30 };
        Limit::describe(&[limit, Limit { policy: "token", ..limit }], &mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"client\";q=100;w=60, \"token\";q=100;w=60");
        assert_eq!(headers["ratelimit"], "\"client\";r=50;t=30, \"token\";r=50;t=30");
    }
}
