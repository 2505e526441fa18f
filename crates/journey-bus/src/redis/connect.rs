//! How is a connection made, with TLS and password?

use std::time::Duration;

use redis::{AsyncConnectionConfig, RedisConnectionInfo, aio::MultiplexedConnection};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{link::Target, state::reason};

/// The client gives up an answer after this; ours comes before, but for reads that block.
const ANSWER: Duration = Duration::from_secs(30);

/// Connects and logs in. The connection ends with the last copy of what is returned.
pub(super) async fn connect(target: &Target) -> Result<MultiplexedConnection, String> {
    let config = &target.config;
    let stream = TcpStream::connect((config.host.as_str(), config.port)).await.map_err(reason)?;
    stream.set_nodelay(true).map_err(reason)?;
    if config.tls.is_none() {
        return log_in(target, stream).await;
    }
    let name = ServerName::try_from(config.host.clone()).map_err(reason)?;
    let stream = TlsConnector::from(target.tls.clone()).connect(name, stream).await.map_err(reason)?;
    log_in(target, stream).await
}

async fn log_in<S>(target: &Target, stream: S) -> Result<MultiplexedConnection, String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let config = &target.config;
    let mut login = RedisConnectionInfo::default().set_db(config.database).set_skip_set_lib_name();
    if let Some(user) = &config.user {
        login = login.set_username(user);
    }
    if let Some(password) = &config.password {
        login = login.set_password(password);
    }
    let settings = AsyncConnectionConfig::new().set_response_timeout(Some(ANSWER)).set_connection_timeout(None);
    let logging_in = MultiplexedConnection::new_with_config(&login, stream, settings);
    let (connection, driver) = logging_in.await.map_err(reason)?;
    tokio::spawn(driver);
    Ok(connection)
}
