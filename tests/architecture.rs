//! The shape of the workspace, as ARCHITECTURE.md draws it: which crate may name which, what pure crates may not touch,
//! and how long files may get.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The rooms from the inside out. A crate may name crates of layers before its own, never a sibling.
const LAYERS: [&[&str]; 7] = [
    &["sluice-moqt", "sluice-netem"],
    &["sluice-track", "sluice-media", "sluice-topology"],
    &["sluice-node"],
    &["sluice-net"],
    &["sluice-relay", "sluice-origin-shim", "sluice-client-probe"],
    &["sluice-sim"],
    &["sluice"],
];

/// Arrows between siblings, each with its reason.
const EXCEPTIONS: [(&str, &str, &str); 1] =
    [("sluice-origin-shim", "sluice-relay", "the shim is the same daemon in the role of an origin, plus sources")];

/// Crates without IO: same inputs, same outputs, in the relay, the simulator and the tests.
const PURE: [&str; 5] = ["sluice-moqt", "sluice-track", "sluice-media", "sluice-topology", "sluice-node"];

/// What a pure crate does not depend on.
const IMPURE_CRATES: [&str; 12] = [
    "tokio",
    "mio",
    "socket2",
    "quinn",
    "quinn-proto",
    "quinn-udp",
    "rustls",
    "h3",
    "rand",
    "parking_lot",
    "libc",
    "hyper",
];

/// What a pure crate does not name.
const IMPURE_NAMES: [&str; 7] =
    ["std::thread", "std::fs", "UdpSocket", "TcpStream", "Mutex<", "RwLock<", "Instant::now"];

/// External crates of a pure crate: few enough to know each of them.
const PURE_DEPENDENCIES_MAX: usize = 5;

/// Lines of production code in a file.
const LINES_MAX: usize = 500;
/// What a file of [`LONG_FILES`] may have.
const LINES_HARD_MAX: usize = 700;
/// Files above [`LINES_MAX`], each with the reason why splitting it would hurt.
const LONG_FILES: [(&str, &str); 0] = [];

#[test]
fn arrows_point_inwards() {
    let mut wrong = Vec::new();
    for package in packages() {
        let Some(own) = layer(&package.name) else {
            wrong.push(format!("{} has no layer: give it one here and in ARCHITECTURE.md", package.name));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|d| d.starts_with("sluice")) {
            let inward = layer(dependency).is_some_and(|theirs| theirs < own);
            let excepted = EXCEPTIONS.iter().any(|(from, to, _)| *from == package.name && to == dependency);
            if !inward && !excepted {
                wrong.push(format!("{} names {dependency}", package.name));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that do not point inwards:\n{}", wrong.join("\n"));
}

#[test]
fn pure_crates_touch_nothing() {
    let mut wrong = Vec::new();
    for package in packages().iter().filter(|p| PURE.contains(&p.name.as_str())) {
        let external: Vec<_> = package.dependencies.iter().filter(|d| !d.starts_with("sluice")).collect();
        let impure = external.iter().filter(|d| IMPURE_CRATES.contains(&d.as_str()));
        wrong.extend(impure.map(|dependency| format!("{} depends on {dependency}", package.name)));
        if external.len() > PURE_DEPENDENCIES_MAX {
            wrong.push(format!("{} has more than {PURE_DEPENDENCIES_MAX} dependencies: {external:?}", package.name));
        }
        for file in sources(&package.folder.join("src")) {
            let text = fs::read_to_string(&file).unwrap();
            let named = production(&text).filter(|line| !line.trim_start().starts_with("//"));
            let impure = named.filter(|line| IMPURE_NAMES.iter().any(|name| line.contains(name)));
            wrong.extend(impure.map(|line| format!("{}: {}", file.display(), line.trim())));
        }
    }
    assert!(wrong.is_empty(), "pure crates that are not:\n{}", wrong.join("\n"));
}

#[test]
fn files_stay_short() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    for package in packages() {
        for file in sources(&package.folder.join("src")) {
            let lines = production(&fs::read_to_string(&file).unwrap()).count();
            let name = file.strip_prefix(root).unwrap().display().to_string();
            let excepted = LONG_FILES.iter().any(|(long, _)| *long == name);
            if lines > if excepted { LINES_HARD_MAX } else { LINES_MAX } {
                wrong.push(format!("{name}: {lines} lines"));
            }
        }
    }
    assert!(wrong.is_empty(), "split these by role:\n{}", wrong.join("\n"));
}

#[test]
fn nothing_is_left_for_later() {
    let marks = ["TO", "FIX"].map(|start| format!("{start}{}", if start == "TO" { "DO" } else { "ME" }));
    let mut wrong = Vec::new();
    for file in packages().iter().flat_map(|p| sources(&p.folder.join("src"))) {
        let text = fs::read_to_string(&file).unwrap();
        let marked = text.lines().filter(|line| marks.iter().any(|mark| line.contains(mark)));
        wrong.extend(marked.map(|line| format!("{}: {}", file.display(), line.trim())));
    }
    assert!(wrong.is_empty(), "do it, or make it an issue:\n{}", wrong.join("\n"));
}

struct Package {
    name: String,
    folder: PathBuf,
    /// Normal and build dependencies; tests may look outwards.
    dependencies: Vec<String>,
}

fn packages() -> Vec<Package> {
    let arguments = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().iter().map(package).collect()
}

fn package(json: &Value) -> Package {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let dependencies = json["dependencies"].as_array().unwrap().iter();
    Package {
        name: text(&json["name"]),
        folder: Path::new(&text(&json["manifest_path"])).parent().unwrap().to_owned(),
        dependencies: dependencies.filter(|d| d["kind"] != "dev").map(|d| text(&d["name"])).collect(),
    }
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|crates| crates.contains(&name))
}

/// The Rust files below `folder`, without those that hold tests only.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap_or_default();
        if stem == "tests" {
            continue;
        } else if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// The lines of a file before its tests, which stand last.
fn production(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take_while(|line| *line != "#[cfg(test)]")
}
