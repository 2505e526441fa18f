//! cargo run -p third-party
//!
//! mini-redis comes from crates.io as it is. It was instrumented by its authors, for their own ends, and knows nothing of
//! journeys: two route files say what its span names mean.
#![expect(clippy::print_stdout, reason = "an example says what happened")]

use std::{error::Error, time::Duration};

use mini_redis::{client, server};
use tokio::net::TcpListener;
use tracing_journey::Route;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let key = Route::from_toml("key.toml", include_str!("../key.toml"))?;
    let connection = Route::from_toml("connection.toml", include_str!("../connection.toml"))?;
    let journey = tracing_journey::builder().service("mini-redis").route(key).route(connection).no_http().install()?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(server::run(listener, async {
        let _ = stopped.await;
    }));
    use_it(address).await.map_err(|error| error.to_string())?;
    let _ = stop.send(());
    server.await?.map_err(|error| error.to_string())?;

    journey.flush(Duration::from_secs(1));
    for item in journey.live().list(&tracing_journey::journey_core::ListQuery::default())?.journeys {
        let seen = journey.get(&item.correlation_id).ok_or("the journey was not seen")?;
        println!("{} {} is {}", seen.route_label, seen.correlation_id, seen.status);
        for stage in &seen.checkpoints {
            println!("  {:<16} +{:.2} ms ×{}", stage.name, stage.offset_ms, stage.attempts);
        }
    }
    Ok(())
}

/// Somebody uses the cache: writes on one connection, reads on another.
async fn use_it(address: std::net::SocketAddr) -> mini_redis::Result<()> {
    let mut writer = client::connect(address).await?;
    for key in ["user:ada", "user:bo", "user:chidi"] {
        writer.set(key, "online".into()).await?;
    }
    let mut reader = client::connect(address).await?;
    for key in ["user:ada", "user:bo"] {
        reader.get(key).await?;
    }
    Ok(())
}
