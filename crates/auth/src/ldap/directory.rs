//! What queries ask, as searches.

use ldap3::{Ldap as Handle, LdapError, Scope, SearchEntry, SearchOptions, ldap_escape};

use super::pool::{NoDirectory, Pool};
use super::query::{Directory, NoTruth};

/// How many entries one search may find: more than anybody is in groups of. What is beyond is an error.
const ENTRIES_MAX: i32 = 1000;

/// The result code of a search whose base does not exist (RFC 4511, section 4.1.9).
const NO_SUCH_OBJECT: u32 = 32;

/// The result code for what is no distinguished name.
const INVALID_DN: u32 = 34;

/// Asks for no attribute at all (RFC 4511, section 4.5.1.8).
const NO_ATTRIBUTES: &str = "1.1";

/// Matches every entry.
const ANYTHING: &str = "(objectClass=*)";

impl From<NoDirectory> for NoTruth {
    fn from(problem: NoDirectory) -> Self {
        Self::Directory(problem.to_string())
    }
}

impl Pool {
    /// The distinguished names below `base` whose attribute has this value.
    pub(super) async fn find(
        &self,
        base: &str,
        attribute: &str,
        value: &str,
    ) -> Result<Vec<String>, NoDirectory> {
        let filter = equals(attribute, value);
        let found =
            self.with(|handle| search(handle, base, Scope::Subtree, &filter, NO_ATTRIBUTES));
        let entries = found.await?.unwrap_or_default();
        Ok(entries.into_iter().map(|entry| entry.dn).collect())
    }

    async fn entry(
        &self,
        dn: &str,
        filter: &str,
        attribute: &str,
    ) -> Result<Option<SearchEntry>, NoDirectory> {
        let found = self.with(|handle| search(handle, dn, Scope::Base, filter, attribute));
        Ok(found.await?.and_then(|mut entries| entries.pop()))
    }
}

impl Directory for Pool {
    async fn exists(&self, dn: &str) -> Result<bool, NoTruth> {
        Ok(self.entry(dn, ANYTHING, NO_ATTRIBUTES).await?.is_some())
    }

    async fn has_member(
        &self,
        group: &str,
        attribute: &str,
        member: &str,
    ) -> Result<bool, NoTruth> {
        let filter = equals(attribute, member);
        Ok(self.entry(group, &filter, NO_ATTRIBUTES).await?.is_some())
    }

    async fn groups_of(
        &self,
        base: &str,
        attribute: &str,
        member: &str,
    ) -> Result<Vec<String>, NoTruth> {
        Ok(self.find(base, attribute, member).await?)
    }

    async fn values(&self, dn: &str, attribute: &str) -> Result<Vec<String>, NoTruth> {
        let entry = self.entry(dn, ANYTHING, attribute).await?;
        let attributes = entry.map(|entry| entry.attrs).unwrap_or_default();
        // Directories may write the name otherwise than it was asked for.
        let mut found = attributes.into_iter();
        let found = found.find(|(name, _)| name.eq_ignore_ascii_case(attribute));
        Ok(found.map(|(_, values)| values).unwrap_or_default())
    }
}

/// What is in `value` is never more than a value (RFC 4515).
fn equals(attribute: &str, value: &str) -> String {
    format!("({attribute}={})", ldap_escape(value))
}

/// None when there is no such base, whose name may be made of what somebody has said.
async fn search(
    mut handle: Handle,
    base: &str,
    scope: Scope,
    filter: &str,
    attribute: &str,
) -> Result<Option<Vec<SearchEntry>>, LdapError> {
    let options = SearchOptions::new().sizelimit(ENTRIES_MAX);
    let found = handle
        .with_search_options(options)
        .search(base, scope, filter, vec![attribute]);
    match found.await?.success() {
        Ok((entries, _)) => {
            // References to other directories are not followed.
            let entries = entries.into_iter().filter(|entry| !entry.is_ref());
            Ok(Some(entries.map(SearchEntry::construct).collect()))
        }
        Err(LdapError::LdapResult { result })
            if matches!(result.rc, NO_SUCH_OBJECT | INVALID_DN) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
