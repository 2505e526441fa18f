//! Who is at the other end?

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::unusable;
use crate::store::StoreError;

/// Encryption with the server's certificate and name verified, by the authorities in `roots` (PEM) or the system's.
pub(super) fn connector(roots: Option<&Path>) -> Result<MakeRustlsConnect, StoreError> {
    let mut known = RootCertStore::empty();
    let place = match roots {
        Some(file) => {
            let cannot = |error: &dyn std::fmt::Display| {
                unusable(format!("the certificates in `{}` cannot be read: {error} (give a PEM file)", file.display()))
            };
            for certificate in CertificateDer::pem_file_iter(file).map_err(|error| cannot(&error))? {
                known.add(certificate.map_err(|error| cannot(&error))?).map_err(|error| cannot(&error))?;
            }
            format!("`{}`", file.display())
        }
        None => {
            // Some of a system's certificates may be broken; those that are not are enough.
            known.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            "the system".to_owned()
        }
    };
    if known.is_empty() {
        return Err(unusable(format!(
            "no certificate authority is in {place} (set `root_certificates` to a PEM file)"
        )));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(format!("TLS cannot be used: {error}")))?
        .with_root_certificates(known)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}
