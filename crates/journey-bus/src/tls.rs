//! TLS for both servers, with a provider that is named: where a process holds two, the clients' own set-up panics.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::config::{ConfigError, TlsFiles};

/// The set-up of TLS by files: authorities (the system's without any), the client's own certificate.
///
/// Without files there is one too: a NATS server may ask for TLS whatever the address says.
pub(crate) fn client_config(files: Option<&TlsFiles>) -> Result<Arc<ClientConfig>, ConfigError> {
    let is_asked = files.is_some();
    let files = files.cloned().unwrap_or_default();
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ConfigError::new(format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(authorities(files.authorities.as_deref(), is_asked)?);
    let config = match (&files.certificate, &files.key) {
        (Some(certificate), Some(key_file)) => {
            let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| file_error("key", key_file, &error))?;
            builder
                .with_client_auth_cert(certificates("cert", certificate)?, key)
                .map_err(|error| file_error("cert", certificate, &error))?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn authorities(file: Option<&Path>, is_asked: bool) -> Result<RootCertStore, ConfigError> {
    let mut known = RootCertStore::empty();
    // Some of a system's certificates may be broken; those that are not are enough.
    let found = match file {
        Some(file) => certificates("ca", file)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    known.add_parsable_certificates(found);
    match (known.is_empty() && is_asked, file) {
        (false, _) => Ok(known),
        (true, Some(file)) => Err(file_error("ca", file, &"none of its certificates can be trusted")),
        (true, None) => Err(ConfigError::new(
            "the system has no certificate authorities and the live address sets no `ca` (try `&ca=ca.pem`)",
        )),
    }
}

fn certificates(option: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if found.is_empty() => Err(file_error(option, file, &"it holds no certificate")),
        Ok(found) => Ok(found),
        Err(error) => Err(file_error(option, file, &error)),
    }
}

fn file_error(option: &str, file: &Path, error: &dyn std::fmt::Display) -> ConfigError {
    let file = file.display();
    ConfigError::new(format!(
        "`{option}` of the live address is `{file}`, which cannot be used: {error} (give a PEM file)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_used_is_named_with_its_option() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "no certificate").unwrap();
        let with = |file: &Path| TlsFiles { authorities: Some(file.into()), ..TlsFiles::default() };
        let text = client_config(Some(&with(&folder.path().join("absent.pem")))).unwrap_err().to_string();
        assert!(text.starts_with("`ca` of the live address is `") && text.contains("absent.pem"), "{text}");
        let text = client_config(Some(&with(&empty))).unwrap_err().to_string();
        assert!(text.contains("it holds no certificate (give a PEM file)"), "{text}");
    }
}
