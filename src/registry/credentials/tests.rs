use super::*;

fn credentials(json: &str) -> Credentials {
    Credentials::parse(json.as_bytes()).unwrap()
}

/// One login per key, whose user is the key.
fn keyed(keys: &[&str]) -> Credentials {
    let entries: Vec<_> =
        keys.iter().map(|key| format!(r#""{key}": {{"username": "{key}", "password": "p"}}"#)).collect();
    credentials(&format!(r#"{{"auths": {{{}}}}}"#, entries.join(",")))
}

/// The user that would log in for `registry/repository`.
fn user(credentials: &Credentials, registry: &str, repository: &str) -> Option<String> {
    let logins = credentials.logins(registry);
    let login = logins.iter().find(|login| login.is_for(repository))?;
    match &*login.login {
        Login::Password { user, .. } => Some(user.to_string()),
        Login::IdentityToken(_) => panic!("a password was written"),
    }
}

#[test]
fn a_key_matches_as_in_the_kubelet() {
    for (key, registry, repository, matches) in [
        ("r.corp", "r.corp", "a", true),
        ("r.corp", "r.corp:443", "a", false), // the port is equal or it is another registry
        ("r.corp:443", "r.corp", "a", false),
        ("r.corp:5000", "r.corp:5000", "a", true),
        ("https://r.corp", "r.corp", "a", true),
        ("http://r.corp", "r.corp", "a", true),
        ("https://r.corp/v1/", "r.corp", "a", true),
        ("https://r.corp/v2/", "r.corp", "a", true),
        ("r.corp/", "r.corp", "a", true),
        ("r.corp/team", "r.corp", "team/app", true),
        ("r.corp/team", "r.corp", "teams/app", true), // a plain prefix: the kubelet's own rule
        ("r.corp/team/", "r.corp", "teams/app", false),
        ("r.corp/v2/team", "r.corp", "team/app", true),
        ("r.corp/team", "r.corp", "other/app", false),
        ("*.corp", "r.corp", "a", true),
        ("*.corp", "a.r.corp", "a", false), // one label
        ("*.*.corp", "a.r.corp", "a", true),
        ("r*y.corp", "registry.corp", "a", true),
        ("r*s*y.corp", "registry.corp", "a", true),
        ("r*x*y.corp", "registry.corp", "a", false),
        ("*.corp:5000", "r.corp:5000", "a", true),
        ("*.corp", "r.corp:5000", "a", false),
        ("*", "localhost", "a", true),
        ("*", "r.corp", "a", false),
        ("evilr.corp", "r.corp", "a", false),
        ("r.corp.evil.com", "r.corp", "a", false),
        ("r.corp@evil.com", "r.corp", "a", false),
        ("[::1]:5000", "[::1]:5000", "a", true),
        ("[::1]", "[::1]:5000", "a", false),
        ("docker.io", "docker.io", "library/nginx", true),
        ("https://index.docker.io/v1/", "docker.io", "library/nginx", true),
        ("index.docker.io", "docker.io", "acme/app", true),
        ("https://index.docker.io/v1/", "r.corp", "a", false),
        ("registry-1.docker.io", "docker.io", "a", false),
    ] {
        let found = user(&keyed(&[key]), registry, repository).is_some();
        assert_eq!(found, matches, "`{key}` for `{registry}/{repository}`");
    }
}

#[test]
fn the_more_specific_key_goes_first() {
    let all = keyed(&["r.corp", "r.corp/team", "r.corp/team/app", "*.corp", "index.docker.io", "docker.io"]);
    for (registry, repository, expected) in [
        ("r.corp", "team/app", "r.corp/team/app"),
        ("r.corp", "team/other", "r.corp/team"),
        ("r.corp", "x", "r.corp"),
        ("s.corp", "x", "*.corp"),
        ("docker.io", "library/nginx", "docker.io"),
    ] {
        assert_eq!(user(&all, registry, repository).as_deref(), Some(expected), "{registry}/{repository}");
    }
}

#[test]
fn a_login_is_an_identity_token_else_auth_else_user_and_password() {
    let auth = base64::engine::general_purpose::STANDARD.encode("robot:pa:ss");
    let unpadded = auth.trim_end_matches('=');
    let password =
        |user: &str, password: &str| Login::Password { user: user.into(), password: password.into() };
    for (entry, expected) in [
        (r#"{"username": "u", "password": "p"}"#.to_owned(), Some(password("u", "p"))),
        (
            format!(r#"{{"username": "u", "password": "p", "auth": "{auth}"}}"#),
            Some(password("robot", "pa:ss")),
        ),
        (format!(r#"{{"auth": "{unpadded}", "email": "a@b"}}"#), Some(password("robot", "pa:ss"))),
        (
            format!(r#"{{"auth": "{auth}", "identitytoken": "refresh"}}"#),
            Some(Login::IdentityToken("refresh".into())),
        ),
        ("{}".to_owned(), None),
        (r#"{"auth": "", "identitytoken": ""}"#.to_owned(), None),
    ] {
        let all = credentials(&format!(r#"{{"auths": {{"r.corp": {entry}}}, "credsStore": "desktop"}}"#));
        let logins = all.logins("r.corp");
        assert_eq!(logins.first().map(|scoped| &*scoped.login), expected.as_ref(), "{entry}");
    }
}

#[test]
fn what_is_no_dockerconfigjson_is_refused_without_quoting_it() {
    for (text, expected) in [
        ("", "not the JSON of a dockerconfigjson: line 1, column 0"),
        ("canary", "not the JSON of a dockerconfigjson: line 1, column 1"),
        (r#"{"auths": "canary"}"#, "not the JSON of a dockerconfigjson: line 1, column 18"),
        (r#"{"auths": {"r.corp": "canary"}}"#, "not the JSON of a dockerconfigjson: line 1, column 29"),
        (r#"{"password": "canary"}"#, "there is no `auths`"),
        (
            r#"{"auths": {"u:canary@r.corp": {"auth": "canary!"}}}"#,
            "`auth` of `r.corp` is not the base64 of `user:password`",
        ),
        (
            r#"{"auths": {"r.corp": {"auth": "Y2FuYXJ5"}}}"#,
            "`auth` of `r.corp` is not the base64 of `user:password`",
        ),
    ] {
        let error = Credentials::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), expected, "{text}");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
    assert_eq!(Credentials::parse(&vec![b' '; MAX_DOCUMENT + 1]), Err(ParseCredentialsError::TooLong));
}

#[test]
fn the_same_login_has_the_same_identity_and_another_has_another() {
    let one = Login::Password { user: "u".into(), password: "p".into() };
    let other = Login::Password { user: "u".into(), password: "q".into() };
    assert!(one.id() == one.clone().id());
    assert!(one.id() != other.id());
    assert!(one.id() != LoginId::default(), "anonymous is nobody's login");
}

#[test]
fn debug_output_is_redacted() {
    let all = credentials(r#"{"auths": {"r.corp": {"username": "canary", "password": "canary"}}}"#);
    let logins = all.logins("r.corp");
    let shown = format!("{all:?} {logins:?} {:?} {:?}", logins[0].login, logins[0].id);
    assert_eq!(shown, "<redacted> [<redacted>] <redacted> <redacted>");
}

#[test]
fn a_document_of_a_secret_names_no_program_to_run() {
    let all = credentials(
        r#"{"auths": {"r.corp": {"username": "u", "password": "p"}}, "credsStore": "desktop", "credHelpers": {"r.corp": "ecr-login", "s.corp": 7}}"#,
    );
    for registry in ["r.corp", "s.corp", "docker.io"] {
        let logins = written(&all.candidates(registry)).expect("only logins that are written down");
        assert_eq!(logins.len(), usize::from(registry == "r.corp"), "{registry}");
    }
}
