//! Certificates for both protocols.

use std::path::Path;

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::config::{Collector, ConfigError, TlsFiles};

/// The set-up of TLS; for an http address an empty one that is never used.
///
/// The provider is named: a process that holds two would otherwise panic or take one by chance.
pub(crate) fn client_config(collector: &Collector) -> Result<ClientConfig, ConfigError> {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ConfigError::unspoken("TLS", "cannot be set up").caused_by(error))?;
    if collector.url.scheme_str() != Some("https") {
        return Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth());
    }
    let builder = builder.with_root_certificates(roots(&collector.tls)?);
    let TlsFiles { client_key, client_certificate, .. } = &collector.tls;
    match (client_certificate, client_key) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(certificate), Some(key)) => {
            let chain = certificates("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate)?;
            let name = "OTEL_EXPORTER_OTLP_CLIENT_KEY";
            let key = PrivateKeyDer::from_pem_slice(&read(name, key)?)
                .map_err(|error| file_error(name, key, "which holds no private key in PEM form").caused_by(error))?;
            let unusable = "and `OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE` cannot be used together";
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| ConfigError::unspoken(name, unusable).caused_by(error))
        }
        (Some(_), None) => Err(ConfigError::unspoken(
            "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
            "needs `OTEL_EXPORTER_OTLP_CLIENT_KEY` as well (try `client.key`)",
        )),
        (None, Some(_)) => Err(ConfigError::unspoken(
            "OTEL_EXPORTER_OTLP_CLIENT_KEY",
            "needs `OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE` as well (try `client.pem`)",
        )),
    }
}

fn roots(files: &TlsFiles) -> Result<RootCertStore, ConfigError> {
    const NAME: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
    let mut roots = RootCertStore::empty();
    let Some(path) = &files.certificate else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            let problem = "is not set and the system has no certificates (try `/etc/ssl/certs/ca-certificates.crt`)";
            return Err(ConfigError::unspoken(NAME, problem));
        }
        return Ok(roots);
    };
    let certificates = certificates(NAME, path)?;
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err(file_error(NAME, path, "which holds no certificate that can be trusted"));
    }
    Ok(roots)
}

fn certificates(name: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(name, path)?).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(file_error(name, path, "which holds no certificate in PEM form")),
        Err(error) => Err(file_error(name, path, "which is not a PEM file").caused_by(error)),
    }
}

fn read(name: &str, path: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path)
        .map_err(|error| file_error(name, path, "which cannot be read (try a PEM file)").caused_by(error))
}

fn file_error(name: &str, path: &Path, problem: &str) -> ConfigError {
    ConfigError::new(name, &path.display().to_string(), problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Protocol;

    fn problem(tls: TlsFiles) -> String {
        let mut collector = Collector::new("https://localhost:4318/v1/traces".parse().unwrap(), Protocol::HttpProtobuf);
        collector.tls = tls;
        client_config(&collector).unwrap_err().to_string()
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_with_its_setting() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "no certificate").unwrap();
        let with = |certificate: &Path| TlsFiles { certificate: Some(certificate.into()), ..TlsFiles::default() };
        let text = problem(with(&folder.path().join("absent.pem")));
        assert!(text.starts_with("`OTEL_EXPORTER_OTLP_CERTIFICATE` is `") && text.contains("absent.pem"), "{text}");
        assert!(problem(with(&empty)).contains("holds no certificate"), "{}", problem(with(&empty)));
    }

    #[test]
    fn an_http_address_needs_no_certificates() {
        let mut collector = Collector::new("http://localhost:4318".parse().unwrap(), Protocol::HttpProtobuf);
        collector.tls.certificate = Some("absent.pem".into());
        assert!(client_config(&collector).is_ok());
    }
}
