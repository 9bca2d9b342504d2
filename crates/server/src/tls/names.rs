//! Which certificate a client is shown.

use std::collections::HashMap;
use std::sync::Arc;

use leveret_broker::rustls::server::{ClientHello, ResolvesServerCert};
use leveret_broker::rustls::sign::CertifiedKey;

/// Certificates by the host name that clients ask for, and one for all others.
#[derive(Debug)]
pub(super) struct Names {
    for_others: Arc<CertifiedKey>,
    /// In lower case, as clients send them.
    by_name: HashMap<String, Arc<CertifiedKey>>,
}

impl Names {
    pub(super) fn new(for_others: CertifiedKey) -> Self {
        Self {
            for_others: Arc::new(for_others),
            by_name: HashMap::new(),
        }
    }

    /// `name` may begin with `*`, which stands for one label.
    pub(super) fn add(&mut self, name: &str, key: CertifiedKey) {
        self.by_name
            .insert(name.to_ascii_lowercase(), Arc::new(key));
    }

    fn find(&self, name: Option<&str>) -> &Arc<CertifiedKey> {
        let Some(name) = name else {
            return &self.for_others;
        };
        let name = name.to_ascii_lowercase();
        let by_wildcard = || {
            let (_, parent) = name.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        };
        let found = self.by_name.get(&name).or_else(by_wildcard);
        found.unwrap_or(&self.for_others)
    }
}

impl ResolvesServerCert for Names {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.find(client_hello.server_name())))
    }
}

#[cfg(test)]
mod tests {
    use leveret_broker::rustls::crypto::aws_lc_rs;
    use leveret_broker::rustls::pki_types::PrivateKeyDer;

    use super::*;

    fn key() -> CertifiedKey {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::default();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        CertifiedKey::from_der(vec![certificate], key, &aws_lc_rs::default_provider()).unwrap()
    }

    #[test]
    fn names_are_found_in_any_case_and_by_their_parent() {
        let mut names = Names::new(key());
        names.add("MQ.example", key());
        names.add("*.shop.example", key());
        let of = |name: &str| Arc::clone(names.find(Some(name)));
        let others = Arc::clone(&names.for_others);
        assert!(!Arc::ptr_eq(&of("mq.example"), &others));
        assert!(Arc::ptr_eq(&of("mq.example"), &of("Mq.Example")));
        assert!(!Arc::ptr_eq(&of("a.shop.example"), &others));
        assert!(Arc::ptr_eq(&of("a.b.shop.example"), &others));
        assert!(Arc::ptr_eq(&of("shop.example"), &others));
        assert!(Arc::ptr_eq(&of("other.example"), &others));
        assert!(Arc::ptr_eq(names.find(None), &others));
    }
}
