//! Rules of crates: which way dependencies point, and that all share the workspace's lints.

use super::Crate;

/// What a crate may depend on within the workspace.
enum Below {
    Only(&'static [&'static str]),
    Anything,
}

/// The layers, from below.
const LAYERS: [(&str, Below); 9] = [
    ("gllm-core", Below::Only(&[])),
    ("gllm-hub", Below::Only(&["gllm-core"])),
    ("gllm-quant", Below::Only(&["gllm-core"])),
    ("gllm-models", Below::Only(&["gllm-core", "gllm-quant"])),
    ("gllm-runtime", Below::Only(&["gllm-core", "gllm-hub", "gllm-models"])),
    ("gllm", Below::Only(&["gllm-core", "gllm-hub", "gllm-models", "gllm-quant", "gllm-runtime"])),
    ("gllm-cli", Below::Only(&["gllm"])),
    ("gllm-tests", Below::Anything),
    ("xtask", Below::Only(&[])),
];

/// Crates from outside that only some crates may use: network, tensors, the actors' channels. `*` ends a prefix.
const RESERVED: [(&str, &[&str]); 4] = [
    ("hf-hub", &["gllm-hub"]),
    ("ureq", &["gllm-hub"]),
    ("burn*", &["gllm-models", "gllm-tests"]),
    ("crossbeam-channel", &["gllm-runtime"]),
];

pub(super) fn violations(crates: &[Crate]) -> Vec<String> {
    [layers(crates), reserved(crates), lints(crates)].concat()
}

fn layers(crates: &[Crate]) -> Vec<String> {
    let mut violations = Vec::new();
    for Crate { name, dependencies, .. } in crates {
        let Some((_, below)) = LAYERS.iter().find(|(layer, _)| layer == name) else {
            violations.push(format!("{name}: say in {} what it may depend on", file!()));
            continue;
        };
        let Below::Only(below) = below else { continue };
        let in_workspace = |dependency: &&String| crates.iter().any(|other| other.name == **dependency);
        for dependency in dependencies.iter().filter(in_workspace) {
            if !below.contains(&dependency.as_str()) {
                violations.push(format!("{name}: must not depend on {dependency}"));
            }
        }
    }
    violations
}

fn reserved(crates: &[Crate]) -> Vec<String> {
    let matches = |pattern: &str, name: &str| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    };
    let mut violations = Vec::new();
    for Crate { name, dependencies, .. } in crates {
        for dependency in dependencies {
            let rule = RESERVED.iter().find(|(pattern, _)| matches(pattern, dependency));
            if let Some((_, users)) = rule.filter(|(_, users)| !users.contains(&name.as_str())) {
                violations.push(format!("{name}: {dependency} is for {} only", users.join(" and ")));
            }
        }
    }
    violations
}

fn lints(crates: &[Crate]) -> Vec<String> {
    let shares = |manifest: &str| {
        let section = manifest.lines().skip_while(|line| line.trim() != "[lints]").skip(1);
        section.take_while(|line| !line.starts_with('[')).any(|line| line.trim() == "workspace = true")
    };
    let without = crates.iter().filter(|it| !shares(&it.manifest));
    without.map(|it| format!("{}: Cargo.toml lacks `workspace = true` under [lints]", it.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;

    fn a_crate(name: &str, dependencies: &[&str]) -> Crate {
        let manifest = "[package]\n\n[lints]\nworkspace = true\n".into();
        Crate { name: name.into(), manifest, dependencies: dependencies.iter().map(|&name| name.into()).collect() }
    }

    #[test]
    fn dependencies_point_down() {
        let crates = [
            a_crate("gllm-core", &["gllm-hub", "serde"]),
            a_crate("gllm-hub", &["gllm-core"]),
            a_crate("gllm-tests", &["gllm-core", "gllm-hub"]),
            a_crate("gllm-new", &[]),
        ];
        check(&layers(&crates), &["gllm-core: must not depend on gllm-hub", "gllm-new: say in"]);
    }

    #[test]
    fn network_tensors_and_channels_stay_where_they_belong() {
        let crates = [
            a_crate("gllm-hub", &["ureq", "hf-hub", "crossbeam-channel"]),
            a_crate("gllm-models", &["burn", "ureq"]),
            a_crate("gllm", &["burn-flex"]),
        ];
        let named = ["gllm-hub: crossbeam-channel", "gllm-models: ureq", "gllm: burn-flex"];
        check(&reserved(&crates), &named);
    }

    #[test]
    fn every_crate_shares_the_lints() {
        let mut crates = [a_crate("a", &[]), a_crate("b", &[]), a_crate("c", &[])];
        crates[1].manifest = "[package]\n".into();
        crates[2].manifest = "[lints]\n\n[package.metadata]\nworkspace = true\n".into();
        check(&lints(&crates), &["b:", "c:"]);
    }
}
