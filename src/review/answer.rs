//! The response half of a review, written once into one buffer.

use base64_simd::STANDARD;

use super::{Embedded, json::push_json};

/// The answer to one request.
#[derive(Debug)]
pub struct Answer<'a> {
    /// The request's uid, repeated.
    pub uid: &'a str,
    /// Whether the request goes on.
    pub verdict: Verdict<'a>,
    /// The patch as JSON text (RFC 6902), if there is one to apply.
    pub patch: Option<&'a [u8]>,
    /// One key and value, which is JSON, for the API server's own audit log.
    pub audit_annotation: Option<(&'a str, &'a Embedded)>,
    /// What `kubectl` shows to the user, each of at most 256 characters.
    pub warnings: &'a [String],
}

/// Whether a request goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict<'a> {
    /// It does.
    Allowed,
    /// It does not; status code 403 and this message.
    Denied(&'a str),
}

impl Answer<'_> {
    /// The `AdmissionReview` that answers, as JSON: `patch` in base64 (RFC 4648 §4), `patchType` only beside it.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.expected_length());
        out.extend_from_slice(
            br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"#,
        );
        push_json(&mut out, self.uid);
        match self.verdict {
            Verdict::Allowed => out.extend_from_slice(br#","allowed":true"#),
            Verdict::Denied(message) => {
                out.extend_from_slice(
                    br#","allowed":false,"status":{"code":403,"reason":"Forbidden","message":"#,
                );
                push_json(&mut out, message);
                out.push(b'}');
            }
        }
        if let Some(patch) = self.patch {
            out.extend_from_slice(br#","patchType":"JSONPatch","patch":""#);
            STANDARD.encode_append(patch, &mut out);
            out.push(b'"');
        }
        if let Some((key, value)) = self.audit_annotation {
            out.extend_from_slice(br#","auditAnnotations":{"#);
            push_json(&mut out, key);
            out.extend_from_slice(b":\"");
            out.extend_from_slice(value.escaped());
            out.extend_from_slice(b"\"}");
        }
        for (number, warning) in self.warnings.iter().enumerate() {
            out.extend_from_slice(if number == 0 { br#","warnings":["# } else { b"," });
            push_json(&mut out, warning);
        }
        if !self.warnings.is_empty() {
            out.push(b']');
        }
        out.extend_from_slice(b"}}");
        out
    }

    /// Enough for the whole answer unless much of it must be escaped.
    fn expected_length(&self) -> usize {
        let message = match self.verdict {
            Verdict::Allowed => 0,
            Verdict::Denied(message) => message.len() + 80,
        };
        160 + self.uid.len()
            + message
            + self.patch.map_or(0, |patch| patch.len().div_ceil(3) * 4 + 48)
            + self.audit_annotation.map_or(0, |(key, value)| key.len() + value.escaped().len() + 32)
            + self.warnings.iter().map(|warning| warning.len() + 16).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(answer: &Answer<'_>) -> serde_json::Value {
        serde_json::from_slice(&answer.to_json()).unwrap()
    }

    const ALLOWED: Answer<'static> =
        Answer { uid: "u-1", verdict: Verdict::Allowed, patch: None, audit_annotation: None, warnings: &[] };

    #[test]
    fn an_answer_without_changes_has_neither_patch_nor_patch_type() {
        assert_eq!(
            parsed(&ALLOWED),
            serde_json::json!({
                "apiVersion": "admission.k8s.io/v1",
                "kind": "AdmissionReview",
                "response": {"uid": "u-1", "allowed": true},
            })
        );
    }

    #[test]
    fn a_patch_is_in_standard_base64_beside_its_type() {
        for patch in ["[]", "[{}]", "[1]>>>???"] {
            let answer = parsed(&Answer { patch: Some(patch.as_bytes()), ..ALLOWED });
            assert_eq!(answer["response"]["patchType"], "JSONPatch");
            let decoded = STANDARD.decode_to_vec(answer["response"]["patch"].as_str().unwrap()).unwrap();
            assert_eq!(decoded, patch.as_bytes());
        }
    }

    #[test]
    fn texts_are_escaped_wherever_they_stand() {
        let hostile = "a\"b\\c\n\u{0}é";
        let warnings = [hostile.to_owned()];
        let mut embedded = Embedded::default();
        embedded.push_string(hostile);
        let answer = parsed(&Answer {
            uid: hostile,
            verdict: Verdict::Denied(hostile),
            patch: None,
            audit_annotation: Some(("images-00000000", &embedded)),
            warnings: &warnings,
        });
        let response = &answer["response"];
        assert_eq!(response["uid"], hostile);
        assert_eq!(response["allowed"], false);
        assert_eq!(
            response["status"],
            serde_json::json!({"code": 403, "reason": "Forbidden", "message": hostile})
        );
        let annotation = response["auditAnnotations"]["images-00000000"].as_str().unwrap();
        assert_eq!(serde_json::from_str::<String>(annotation).unwrap(), hostile);
        assert_eq!(response["warnings"][0], hostile);
    }

    #[test]
    fn the_expected_length_is_enough_and_not_much_more() {
        let (uid, long) = ("7".repeat(36), "w".repeat(700));
        let (nothing, mut embedded) = (Embedded::default(), Embedded::default());
        embedded.push_string(&long);
        let whole = Answer {
            uid: &uid,
            verdict: Verdict::Denied(&long),
            patch: Some(long.as_bytes()),
            audit_annotation: Some(("images-00000000", &embedded)),
            warnings: &[long.clone(), long.clone(), String::new()],
        };
        let allowed = Answer { uid: &uid, ..ALLOWED };
        for answer in [
            ALLOWED,
            Answer { uid: &uid, ..ALLOWED },
            Answer { verdict: Verdict::Denied(&long), ..allowed },
            Answer { patch: Some(b"[]"), ..allowed },
            Answer { patch: Some(long.as_bytes()), ..allowed },
            Answer { audit_annotation: Some(("key", &nothing)), ..allowed },
            Answer { warnings: whole.warnings, ..allowed },
            whole,
        ] {
            let (expected, length) = (answer.expected_length(), answer.to_json().len());
            assert!((length..=length + 170).contains(&expected), "{expected} for {length}");
        }
    }
}
