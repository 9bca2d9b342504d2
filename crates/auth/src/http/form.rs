//! Fields of a question, encoded as browsers encode forms.

use zeroize::Zeroizing;

/// Fields in the order in which they are added, as `application/x-www-form-urlencoded`. Wiped when it is dropped.
pub(super) struct Form(Zeroizing<Vec<u8>>);

impl Form {
    /// Encodes all at once, so that no copy is left behind by a buffer that grows.
    pub(super) fn new(fields: &[(&str, &[u8])]) -> Self {
        // At most three bytes for one, and two signs.
        let size = fields
            .iter()
            .map(|(name, value)| 3 * (name.len() + value.len()) + 2)
            .sum();
        let mut form = Zeroizing::new(Vec::with_capacity(size));
        for (name, value) in fields {
            if !form.is_empty() {
                form.push(b'&');
            }
            encode(name.as_bytes(), &mut form);
            form.push(b'=');
            encode(value, &mut form);
        }
        Self(form)
    }

    /// As a query; it is ASCII.
    pub(super) fn as_text(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }

    pub(super) fn into_bytes(self) -> Zeroizing<Vec<u8>> {
        self.0
    }
}

fn encode(bytes: &[u8], form: &mut Vec<u8>) {
    for part in form_urlencoded::byte_serialize(bytes) {
        form.extend_from_slice(part.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_encoded_and_nothing_can_break_out() {
        let form = Form::new(&[
            ("username", b"ann & bob=?"),
            ("password", b"\xff\0\n+%"),
            ("variable_map.vhost", "/f\u{fc}r".as_bytes()),
            ("empty", b""),
        ]);
        assert_eq!(
            form.as_text(),
            "username=ann+%26+bob%3D%3F&password=%FF%00%0A%2B%25&variable_map.vhost=%2Ff%C3%BCr&empty="
        );
        let size = form.0.len();
        assert!(form.0.capacity() >= size);
        assert_eq!(form.into_bytes().len(), size);
    }
}
