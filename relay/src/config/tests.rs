use super::flags::KeyFlags;
use super::*;

const FRA1: &str = r#"
pop = "fra1"

[listen]
addr = "[::]:4443"
cert = "fra1.pem"
key = "fra1.key"
advertise = ["203.0.113.5:4443"]

[admin]
addr = "127.0.0.1:9090"

[trunk]
addr = "[::]:4444"
ca = "ca.pem"
cert = "trunk.pem"
key = "/etc/sluice/trunk.key"
origins = ["ams-origin"]

[[peer]]
pop = "ams-origin"
addr = "198.51.100.7:4444"
price_usd_per_gb = 0.02
cap = "2Gbit/s"
"#;

#[test]
fn a_pop_as_a_user_writes_it() {
    let config = load(FRA1, &[], KeyFlags::default()).unwrap().config;
    assert_eq!((config.pop.as_str(), config.role), ("fra1", Role::Edge));
    assert_eq!(config.listen.addr, "[::]:4443".parse().unwrap());
    assert_eq!(config.listen.advertise, ["203.0.113.5:4443".parse().unwrap()]);
    let certificate = Certificate::Files { cert: "/pops/fra1.pem".into(), key: "/pops/fra1.key".into() };
    assert_eq!(config.listen.certificate, certificate, "paths of a file are relative to it");
    assert_eq!(config.state_dir, PathBuf::from("sluice-state/fra1"), "the default is not from the file");

    let trunk = config.trunk.unwrap();
    assert_eq!(trunk.key, PathBuf::from("/etc/sluice/trunk.key"));
    assert_eq!(trunk.origins, ["ams-origin".parse().unwrap()]);
    let peer = &trunk.peers[0];
    assert_eq!((peer.addr.host(), peer.addr.port()), ("198.51.100.7", 4444));
    assert_eq!(peer.cap.map(Bandwidth::bits_per_second), Some(2_000_000_000));
    assert!((peer.price.usd_per_gb() - 0.02).abs() < f64::EPSILON);
}

#[test]
fn a_name_is_all_it_takes() {
    let config = Config::from_toml("pop = \"fra1\"").unwrap();
    assert!(config.trunk.is_none());
    assert_eq!(config.listen.certificate, Certificate::Development);
    assert_eq!(config.admin.get(), "127.0.0.1:9090".parse().unwrap());
    assert_eq!(config.limits.viewer_max_lag_groups, 1);
    assert_eq!(config.drain_grace, Duration::from_secs(30));
}

#[test]
fn all_mistakes_are_told_at_once_with_line_and_cure() {
    let text = r#"
pop = "Fra 1"
shards = 65

[listen]
adr = "[::]:4443"
cert = "fra1.pem"

[admin]
addr = "0.0.0.0:9090"

[trunk]
keepalve = "5s"
origins = "ams-origin"

[limts]
memory = "1GiB"

[[peer]]
pop = "ams-origin"
cap = "2Gbps"
"#;
    let told = load(text, &[("SLUICE_DRAIN_GRACE", "2h")], KeyFlags::default().with("role", "core")).unwrap_err();
    let expected = "\
/pops/fra1.toml:2: `pop` = \"Fra 1\" is not allowed: expected a PoP name: 1 to 63 of a-z, 0-9, `-` and `.`, starting with a letter or digit
/pops/fra1.toml:3: `shards` = \"65\" is not allowed: expected a whole number, 1 to 64
/pops/fra1.toml:6: unknown key `listen.adr`, did you mean `addr`?
/pops/fra1.toml:10: `admin.addr` = \"0.0.0.0:9090\" is not allowed: expected a loopback address and port, such as `127.0.0.1:9090` or `[::1]:9090` (no authentication, so nothing else)
/pops/fra1.toml:13: unknown key `trunk.keepalve`
/pops/fra1.toml:16: unknown key `limts`, did you mean `limits`?
/pops/fra1.toml:19: this [[peer]] has no `addr`: expected HOST:PORT, such as `198.51.100.7:4444`, `[2001:db8::7]:4444` or `ams.example.net:4444`
/pops/fra1.toml:21: `peer.cap` = \"2Gbps\" is not allowed: expected 1kbit/s to 1000Gbit/s, such as `2Gbit/s`
--role: `role` = \"core\" is not allowed: expected `edge` or `origin`
config: `listen.key` is missing (`listen.cert` is set): set it in the file, as --listen-key or as SLUICE_LISTEN_KEY
config: `trunk.ca` is missing (`trunk.origins` is set): set it in the file, as --trunk-ca or as SLUICE_TRUNK_CA
config: `trunk.cert` is missing (`trunk.origins` is set): set it in the file, as --trunk-cert or as SLUICE_TRUNK_CERT
config: `trunk.key` is missing (`trunk.origins` is set): set it in the file, as --trunk-key or as SLUICE_TRUNK_KEY
SLUICE_DRAIN_GRACE: `drain.grace` = \"2h\" is not allowed: expected 0ms to 1h, such as `1500ms` or `30s`";
    assert_eq!(told, expected);
}

#[test]
fn a_file_that_is_not_toml_hides_nothing_but_its_own_keys() {
    let told = load("pop = \"fra1\"\n[listen\naddr = ", &[], KeyFlags::default().with("shards", "0")).unwrap_err();
    let lines: Vec<_> = told.lines().collect();
    assert!(lines[0].starts_with("/pops/fra1.toml:2: not TOML: "), "{told}");
    assert!(!told.contains("missing"), "{told}");
    assert!(told.ends_with("--shards: `shards` = \"0\" is not allowed: expected a whole number, 1 to 64"), "{told}");
    let told = load("shards = 1", &[], KeyFlags::default()).unwrap_err();
    assert_eq!(
        told,
        "config: `pop` is missing (every relay has a name): set it in the file, as --pop or as SLUICE_POP"
    );
}

#[test]
fn wrong_types_and_conflicts_are_told() {
    let text = "pop = [\"fra1\"]\nlisten = 1\npeer = { pop = \"a\" }\nshards = 1979-05-27\n";
    let told = load(text, &[], KeyFlags::default()).unwrap_err();
    let expected = "\
/pops/fra1.toml:1: `pop` is a list: expected one value
/pops/fra1.toml:2: `[listen]` is one value: expected a table
/pops/fra1.toml:3: `[[peer]]` is a table: expected an array of tables, written with two brackets
/pops/fra1.toml:4: `shards` is a date: expected one value";
    assert_eq!(told, expected);

    let text = format!(
        "{}\n[[peer]]\npop = \"fra1\"\naddr = \"a:1\"\n[[peer]]\npop = \"ams-origin\"\naddr = \"b:1\"\n\
         [[home]]\nprefix = \"live\"\norigin = \"x\"\n[[home]]\nprefix = \"/live/\"\norigin = \"y\"\n\
         [limits]\nmemory = \"64MiB\"\nwindow_bytes = \"65MiB\"\n",
        FRA1.replace("[::]:4444", "[::]:4443")
    );
    let told = load(&text, &[], KeyFlags::default()).unwrap_err();
    let expected = "\
/pops/fra1.toml:14: `trunk.addr` and `listen.addr` are the same address
/pops/fra1.toml:26: [[peer]] fra1 is this PoP itself
/pops/fra1.toml:29: [[peer]] ams-origin is there twice
/pops/fra1.toml:35: [[home]] live is there twice, for x and y
/pops/fra1.toml:40: `limits.window_bytes` is more than `limits.memory`";
    assert_eq!(told, expected);
}

#[test]
fn flag_wins_over_environment_over_file_over_default() {
    let shards = |file: &str, env: &[(&str, &str)], flags: KeyFlags| {
        let loaded = load(&format!("pop = \"a\"\n{file}"), env, flags).unwrap();
        let source = loaded.effective.to_json()["shards"]["source"].as_str().unwrap().to_owned();
        (loaded.config.shards.get(), source)
    };
    let (file, env, flags) = ("shards = 2", [("SLUICE_SHARDS", "3")], KeyFlags::default().with("shards", "4"));
    assert_eq!(shards("", &[], KeyFlags::default()), (1, "default".into()));
    assert_eq!(shards(file, &[], KeyFlags::default()), (2, "/pops/fra1.toml:2".into()));
    assert_eq!(shards(file, &env, KeyFlags::default()), (3, "SLUICE_SHARDS".into()));
    assert_eq!(shards(file, &env, flags), (4, "--shards".into()));
    assert_eq!(shards(file, &[("SLUICE_SHARDS", "")], KeyFlags::default()).0, 2, "an empty variable is not set");
}

#[test]
fn lists_and_peers_come_from_flags_and_environment_too() {
    let env = [
        ("SLUICE_PEER", "pop=ams-origin,addr=10.0.0.1:4444; pop=lon1,addr=lon1:4444,price_usd_per_gb=0.05"),
        ("SLUICE_TRUNK_ORIGINS", "ams-origin, lon1"),
        ("SLUICE_UNRELATED", "x"),
    ];
    let trunk = load(FRA1, &env, KeyFlags::default()).unwrap().config.trunk.unwrap();
    assert_eq!((trunk.origins.len(), trunk.peers.len(), trunk.peers[1].pop.as_str()), (2, 2, "lon1"));

    let flags = KeyFlags::default().with("peer", "pop=par1,addr=par1:1").with("home", "prefix=live/eu,origin=par1");
    let config = load(FRA1, &env, flags).unwrap().config;
    assert_eq!(config.trunk.unwrap().peers[0].pop.as_str(), "par1", "a flag replaces the whole section");
    assert_eq!(config.homes.as_slice().len(), 1);

    let told = load(FRA1, &[("SLUICE_PEER", "pop=a,adr=b:1")], KeyFlags::default()).unwrap_err();
    let expected = "\
SLUICE_PEER: unknown key `peer.adr`, did you mean `addr`?
SLUICE_PEER: this [[peer]] has no `addr`: expected HOST:PORT, such as `198.51.100.7:4444`, `[2001:db8::7]:4444` or `ams.example.net:4444`";
    assert_eq!(told, expected);
}

#[test]
fn sources_as_an_operator_writes_them() {
    let text = r#"
pop = "ams-origin"
role = "origin"
[rtmp]
addr = "0.0.0.0:1935"
[[source]]
namespace = "live/clip"
file = "clip.mp4"
loop = true
[[source]]
namespace = "live/srt"
command = ["ffmpeg", "-i", "srt://:9000?mode=listener", "-f", "mp4", "-"]
[[source]]
namespace = "live/pipe"
stdin = true
"#;
    let feeds = load(text, &[], KeyFlags::default()).unwrap().config.feeds;
    assert_eq!(feeds.rtmp, Some("0.0.0.0:1935".parse().unwrap()));
    let clip = FeedInput::File { path: "/pops/clip.mp4".into(), looped: Switch::On };
    assert_eq!(feeds.sources[0].input, clip, "paths of a file are relative to it");
    let FeedInput::Command(words) = &feeds.sources[1].input else { panic!("a command") };
    assert_eq!((words.len(), words[2].as_str()), (6, "srt://:9000?mode=listener"));
    assert_eq!((&feeds.sources[2].input, feeds.sources[2].namespace.fields().len()), (&FeedInput::Stdin, 2));

    let flags = KeyFlags::default().with("source", "live/a=a.mp4").with("source", "namespace=b,command=cat b.mp4");
    let feeds = load(text, &[], flags).unwrap().config.feeds;
    let a = FeedInput::File { path: "a.mp4".into(), looped: Switch::Off };
    assert_eq!(
        feeds.sources.iter().map(|s| &s.input).collect::<Vec<_>>(),
        [&a, &FeedInput::Command(vec!["cat".to_owned(), "b.mp4".to_owned()])]
    );
}

#[test]
fn mistakes_in_sources_are_told_at_once() {
    let text = r#"
pop = "ams-origin"
[[source]]
namespace = "live/a"
[[source]]
namespace = "/"
file = "a.mp4"
[[source]]
namespace = "live/b"
file = "b.mp4"
stdin = true
[[source]]
fil = "c.mp4"
stdin = "maybe"
[[source]]
namespace = "live/d"
command = []
[[source]]
namespace = "live/e"
file = "e.mp4"
[[source]]
namespace = "live/e/"
file = "e.mp4"
"#;
    let told = load(text, &[], KeyFlags::default()).unwrap_err();
    let one_of = "a [[source]] has exactly one of `file`, `stdin = true` and `command`";
    let expected = [
        format!("/pops/fra1.toml:3: {one_of}"),
        "/pops/fra1.toml:5: this [[source]] has an empty `namespace`".to_owned(),
        format!("/pops/fra1.toml:8: {one_of}"),
        "/pops/fra1.toml:12: this [[source]] has no `namespace`: expected a namespace prefix as a path, such as `live/eu` (`/` is every namespace)".to_owned(),
        "/pops/fra1.toml:13: unknown key `source.fil`, did you mean `file`?".to_owned(),
        "/pops/fra1.toml:14: `source.stdin` = \"maybe\" is not allowed: expected `true` or `false`".to_owned(),
        "/pops/fra1.toml:17: `source.command` names no program".to_owned(),
        "/pops/fra1.toml:21: [[source]] live-e is there twice".to_owned(),
    ];
    assert_eq!(told.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn the_longest_prefix_is_the_home() {
    let text =
        "pop = \"a\"\n[[home]]\nprefix = \"live\"\norigin = \"x\"\n[[home]]\nprefix = \"live/eu\"\norigin = \"y\"\n";
    let homes = Config::from_toml(text).unwrap().homes;
    let home = |path: &str| homes.home_of(&Namespace::from_path(path).unwrap()).map(PopId::as_str);
    assert_eq!(home("live/eu/match7"), Some("y"));
    assert_eq!(home("live/us"), Some("x"));
    assert_eq!(home("lively"), None);
}

#[test]
fn what_is_printed_loads_to_the_same() {
    let loaded = load(FRA1, &[("SLUICE_SHARDS", "3")], KeyFlags::default()).unwrap();
    let printed = loaded.effective.to_string();
    assert!(printed.contains("listen.cert = \"fra1.pem\"                         # /pops/fra1.toml:6\n"), "{printed}");
    let again = load(&printed, &[], KeyFlags::default()).unwrap().config;
    // Defaults have become lines of a file, so the folder of state is relative to it.
    let state_dir = PathBuf::from("/pops/sluice-state/fra1");
    assert_eq!(format!("{again:?}"), format!("{:?}", Config { state_dir, ..loaded.config }));
}

#[test]
fn every_key_has_one_name_its_documentation_and_a_valid_default() {
    let mut flags: Vec<_> = keys::ALL.iter().map(|spec| keys::flag_name(spec.name)).collect();
    flags.sort();
    flags.dedup();
    assert_eq!(flags.len(), keys::ALL.len());
    for spec in keys::ALL {
        assert!(spec.doc.trim().ends_with('.'), "{}", spec.name);
    }
    // Defaults are parsed like any other value.
    Config::from_toml("pop = \"a\"").unwrap();
}

#[test]
fn the_reference_page_is_current() {
    crate::tests::assert_page("docs/config.md", &reference());
}

fn load(text: &str, env: &[(&str, &str)], flags: KeyFlags) -> Result<Loaded, String> {
    let file = Some((PathBuf::from("/pops/fra1.toml"), text.to_owned()));
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::load(Sources { file, env, flags }).map_err(|problems| problems.to_string())
}
