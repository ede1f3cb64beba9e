use super::*;
use crate::registry::credentials::{Candidate, Login};

/// Who is asked, or logs in, for `registry/repository`: a user, or a program as `program@registry`.
fn who(credentials: Option<&Credentials>, registry: &str, repository: &str) -> Vec<String> {
    let candidates = credentials.map(|credentials| credentials.candidates(registry)).unwrap_or_default();
    candidates
        .iter()
        .filter_map(|candidate| match candidate {
            Candidate::Helper(ask) => Some(format!("{ask:?}")),
            Candidate::Written(login) => match &*login.login {
                Login::Password { user, .. } if login.is_for(repository) => Some(user.to_string()),
                _ => None,
            },
        })
        .collect()
}

fn asked(name: &str, registry: &str) -> String {
    format!(r#"HelperAsk {{ name: "{name}", registry: "{registry}", .. }}"#)
}

/// A file with a login for each key, whose user is named after it.
fn auths(keys: &[(&str, &str)]) -> String {
    let entries: Vec<_> = keys
        .iter()
        .map(|(key, user)| format!(r#""{key}": {{"username": "{user}", "password": "p"}}"#))
        .collect();
    format!(r#""auths": {{{}}}"#, entries.join(","))
}

fn read(files: &[&str]) -> Result<LocalLogins, ReadCredentialsError> {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..files.len()).map(|number| folder.path().join(format!("{number}.json"))).collect();
    for (path, text) in paths.iter().zip(files) {
        std::fs::write(path, text).unwrap();
    }
    LocalLogins::read_from(&Places::Usual(paths))
}

fn with_helpers(files: &[&str]) -> Option<Credentials> {
    read(files).unwrap().with_helpers(|error| panic!("nothing was run, and yet: {error}"))
}

#[test]
fn the_files_are_those_of_podman_then_of_docker_unless_one_is_named() {
    let of = |variables: &[(&str, &str)], user| {
        let variables: BTreeMap<_, _> = variables.iter().copied().collect();
        places(|name| variables.get(name).map(Into::into), user)
    };
    let usual = |paths: &[&str]| Places::Usual(paths.iter().map(PathBuf::from).collect());
    let all = [
        ("XDG_RUNTIME_DIR", "/run/user/7"),
        ("XDG_CONFIG_HOME", "/config"),
        ("DOCKER_CONFIG", "/docker"),
        ("HOME", "/home/me"),
    ];
    assert_eq!(
        of(&all, Some(7)),
        usual(&["/run/user/7/containers/auth.json", "/config/containers/auth.json", "/docker/config.json"])
    );
    assert_eq!(
        of(&[("HOME", "/home/me")], Some(7)),
        usual(&[
            "/run/containers/7/auth.json",
            "/home/me/.config/containers/auth.json",
            "/home/me/.docker/config.json"
        ])
    );
    assert_eq!(of(&[("HOME", ""), ("DOCKER_CONFIG", "/docker")], None), usual(&["/docker/config.json"]));
    let named = of(&[&all[..], &[("REGISTRY_AUTH_FILE", "/mine.json")]].concat(), Some(7));
    assert_eq!(named, Places::Named("/mine.json".into()), "and no other");
}

#[test]
fn the_first_file_that_knows_a_login_for_the_repository_counts() {
    let first = format!("{{{}}}", auths(&[("r.corp/team", "first-team"), ("s.corp", "first")]));
    let second = format!(
        "{{{}}}",
        auths(&[("r.corp", "second"), ("r.corp/team/app", "second-app"), ("t.corp", "second")])
    );
    let logins = read(&[&first, &second]).unwrap().written();
    for (registry, repository, expected) in [
        ("r.corp", "team/app", "first-team"),
        ("r.corp", "other", "second"),
        ("s.corp", "any", "first"),
        ("t.corp", "any", "second"),
    ] {
        let found = who(logins.as_ref(), registry, repository);
        assert_eq!(found.first().map(String::as_str), Some(expected), "{registry}/{repository}");
    }
    assert_eq!(who(logins.as_ref(), "u.corp", "any"), Vec::<String>::new());
}

#[test]
fn a_path_matches_on_segment_boundaries_and_the_longest_goes_first() {
    let keys = [
        "r.corp/foo/bar/image",
        "r.corp/foo",
        "r.corp",
        "docker.io/acme",
        "https://index.docker.io/v1/",
        "s.corp/a/",
    ];
    let file = format!("{{{}}}", auths(&keys.map(|key| (key, key))));
    let logins = read(&[&file]).unwrap().written();
    for (registry, repository, expected) in [
        ("r.corp", "foo/bar/image", "r.corp/foo/bar/image"),
        ("r.corp", "foo/bar/image/more", "r.corp/foo/bar/image"),
        ("r.corp", "foo/bar/images", "r.corp/foo"),
        ("r.corp", "foo", "r.corp/foo"),
        ("r.corp", "foobar", "r.corp"),
        ("docker.io", "acme/app", "docker.io/acme"),
        ("docker.io", "acmes/app", "https://index.docker.io/v1/"),
        ("s.corp", "a/b", "s.corp/a/"),
    ] {
        let found = who(logins.as_ref(), registry, repository);
        assert_eq!(found.first().map(String::as_str), Some(expected), "{registry}/{repository}");
    }
    assert_eq!(who(logins.as_ref(), "s.corp", "ab"), Vec::<String>::new());
}

#[test]
fn a_program_is_asked_in_place_of_its_file_and_files_behind_it_are_searched_after_it() {
    let helpers = r#""credHelpers": {"r.corp:5000": "ecr-login", "https://index.docker.io/v1/": "hub", "plain.corp": ""}"#;
    let written = auths(&[("r.corp:5000", "first"), ("plain.corp", "first"), ("s.corp", "first")]);
    let second = format!("{{{}}}", auths(&[("r.corp:5000", "second")]));
    let ecr = [asked("ecr-login", "r.corp:5000"), "second".to_owned()];
    let hub = [asked("hub", "docker.io")];

    let logins = with_helpers(&[&format!("{{{written}, {helpers}}}"), &second]);
    assert_eq!(who(logins.as_ref(), "r.corp:5000", "a"), ecr);
    assert_eq!(who(logins.as_ref(), "docker.io", "library/nginx"), hub);
    assert_eq!(who(logins.as_ref(), "r.corp", "a"), Vec::<String>::new(), "another port, another registry");
    for registry in ["plain.corp", "s.corp"] {
        assert_eq!(who(logins.as_ref(), registry, "a"), ["first"], "{registry}");
    }

    let logins = with_helpers(&[&format!(r#"{{{written}, {helpers}, "credsStore": "desktop"}}"#), &second]);
    assert_eq!(who(logins.as_ref(), "r.corp:5000", "a"), ecr);
    assert_eq!(who(logins.as_ref(), "docker.io", "library/nginx"), hub);
    assert_eq!(who(logins.as_ref(), "plain.corp", "a"), ["first"], "its own file, outright");
    for registry in ["s.corp", "any.corp"] {
        assert_eq!(who(logins.as_ref(), registry, "a"), [asked("desktop", registry)]);
    }
    assert_eq!(
        who(with_helpers(&[r#"{"credsStore": "desktop"}"#]).as_ref(), "r.corp", "a"),
        [asked("desktop", "r.corp")]
    );
}

#[test]
fn of_what_is_written_alone_no_program_is_asked_and_those_named_are_told() {
    let first = format!(
        r#"{{{}, "credHelpers": {{"r.corp": "ecr-login", "plain.corp": ""}}, "credsStore": "desktop"}}"#,
        auths(&[("r.corp", "written")])
    );
    let local =
        read(&[&first, r#"{"credsStore": "pass"}"#, r#"{"credsStore": "", "credHelpers": {}}"#, "{}"])
            .unwrap();
    assert_eq!(who(local.written().as_ref(), "r.corp", "a"), ["written"]);
    assert_eq!(who(local.written().as_ref(), "s.corp", "a"), Vec::<String>::new());
    let names: Vec<_> = local.helpers().into_iter().map(|named| named.names).collect();
    assert_eq!(names, [vec!["r.corp: ecr-login".to_owned(), "desktop".to_owned()], vec!["pass".to_owned()]]);
}

#[test]
fn files_that_are_not_there_or_hold_nothing_are_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let paths = ["none/auth.json", "file/auth.json"].map(|name| folder.path().join(name));
    let none = LocalLogins::read_from(&Places::Usual([&paths[..], &["/dev/null".into()]].concat())).unwrap();
    assert_eq!((none.written(), none.helpers()), (None, vec![]));
    for text in ["", " \n", "{}", r#"{"auths": {}}"#, r#"{"auths": {"r.corp": {}}, "credHelpers": null}"#] {
        assert_eq!(read(&[text]).unwrap().written(), None, "{text}");
    }
    let named = LocalLogins::read_from(&Places::Named(folder.path().join("none")));
    assert!(matches!(named, Err(ReadCredentialsError::Read { .. })), "one named outright must be there");
    assert!(LocalLogins::read_from(&Places::Named("/dev/null".into())).unwrap().written().is_none());
    let folder_in_place = LocalLogins::read_from(&Places::Usual(vec![folder.path().to_owned()]));
    assert!(matches!(folder_in_place, Err(ReadCredentialsError::Read { .. })));
}

#[test]
fn what_cannot_be_understood_is_told_with_its_file_and_place_and_not_quoted() {
    for (text, expected) in [
        ("canary", "not the JSON of a dockerconfigjson: line 1, column 1"),
        (r#"{"auths": ["canary"]}"#, "not the JSON of a dockerconfigjson: line 1, column 10"),
        (
            r#"{"credHelpers": {"r.corp": ["canary"]}}"#,
            "not the JSON of a dockerconfigjson: line 1, column 27",
        ),
        ("{\"auths\": {},\n\"credsStore\": 7}", "not the JSON of a dockerconfigjson: line 2, column 15"),
        (
            r#"{"auths": {"r.corp": {"auth": "canary!"}}}"#,
            "`auth` of `r.corp` is not the base64 of `user:password`",
        ),
        (&" ".repeat(MAX_DOCUMENT + 1), "longer than 1 MiB"),
    ] {
        let error = read(&["{}", text]).unwrap_err();
        let ReadCredentialsError::Parse { path, source } = &error else { panic!("{error:?}") };
        assert!(path.ends_with("1.json"), "{error}");
        assert_eq!(source.to_string(), expected);
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
    assert_eq!(format!("{:?}", read(&["{}"]).unwrap()), "<redacted>");
}
