//! The message files against each other, and against the code and the templates that use them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::*;

const FILES: [(Lang, &str); 2] =
    [(Lang::En, include_str!("en.ftl")), (Lang::ZhCn, include_str!("zh-CN.ftl"))];

/// The keys of a file and the variables of each.
fn keys(file: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut keys = BTreeMap::new();
    let mut last = "";
    for line in file.lines().filter(|line| !line.starts_with('#')) {
        let named = line.split_once(" =").filter(|_| line.starts_with(|c: char| c.is_ascii_lowercase()));
        if let Some((key, _)) = named {
            assert!(keys.insert(key, BTreeSet::new()).is_none(), "{key} is there twice");
            last = key;
        }
        for variable in line.split('$').skip(1) {
            let end =
                variable.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(variable.len());
            keys.get_mut(last).expect("a variable belongs to a key").insert(&variable[..end]);
        }
    }
    keys
}

/// The templates and the code of the page, without blanks: a call may go over several lines.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src/web"), root.join("templates")];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("lang/tests.rs")
                && path.extension().is_some_and(|e| e == "rs" || e == "html")
            {
                let text = std::fs::read_to_string(&path).unwrap();
                sources.push((path, text.split_whitespace().collect()));
            }
        }
    }
    sources
}

#[test]
fn files_are_whole_and_say_the_same_things() {
    let [english, others @ ..] = FILES.map(|(lang, file)| (lang, keys(file)));
    for (lang, keys) in others {
        let missing: Vec<_> = english.1.iter().filter(|(key, _)| !keys.contains_key(*key)).collect();
        assert!(missing.is_empty(), "{} lacks {missing:?}", lang.tag());
        for (key, variables) in &keys {
            let same = english.1.get(key);
            assert_eq!(same, Some(variables), "{key} of {} and its variables in English", lang.tag());
        }
    }
    for (lang, file) in FILES {
        if let Err((_, errors)) = FluentResource::try_new(file.into()) {
            panic!("{}: {errors:?}", lang.tag());
        }
    }
}

#[test]
fn every_text_can_be_said_with_its_variables() {
    for (lang, file) in FILES {
        for (key, variables) in keys(file) {
            for value in [Arg::Count(1), Arg::Count(u64::MAX), Arg::from("x")] {
                let mut args = FluentArgs::new();
                let given: Vec<_> = variables.iter().map(|name| (*name, value.clone())).collect();
                for (name, _) in &given {
                    args.set(*name, 1);
                }
                let bundle = &lang.bundle().0;
                let pattern = bundle.get_message(key).and_then(|message| message.value()).expect(key);
                let mut errors = Vec::new();
                bundle.format_pattern(pattern, Some(&args), &mut errors);
                assert!(errors.is_empty(), "{key} of {}: {errors:?}", lang.tag());
                let text = lang.format(key, &given);
                assert!(!text.is_empty() && !text.contains(['{', '$']), "{key} of {}: {text}", lang.tag());
            }
        }
    }
}

#[test]
fn every_key_that_is_used_exists_and_none_is_unused() {
    let (keys, sources) = (keys(FILES[0].1), sources());
    assert!(sources.len() > 10, "the sources are where they were");
    for (path, source) in &sources {
        let lang = if path.components().any(|folder| folder.as_os_str() == "lang") { "self" } else { "lang" };
        for call in ["text", "format"].map(|call| format!("{lang}.{call}(\"")) {
            for used in source.split(&call).skip(1) {
                let key = used.split('"').next().unwrap_or_default();
                assert!(keys.contains_key(key), "{}: no text {key:?}", path.display());
            }
        }
    }
    let unused: Vec<_> = keys
        .keys()
        .filter(|key| !sources.iter().any(|(_, source)| source.contains(&format!("\"{key}\""))))
        .collect();
    assert!(unused.is_empty(), "nothing says {unused:?}");
}

#[test]
fn numbers_are_grouped_and_plurals_agree() {
    assert_eq!([0, 999, 1_000, 1_234_567].map(|n| Lang::En.count(n)), ["0", "999", "1,000", "1,234,567"]);
    assert_eq!(Lang::ZhCn.count(1_234_567), "1,234,567");
    let days = |n: u64| Lang::En.format("days-ago", &[("n", n.into())]);
    assert_eq!([1, 2, 1_234].map(days), ["1 day ago", "2 days ago", "1,234 days ago"]);
    assert_eq!(days(u64::MAX), "9,007,199,254,740,992 days ago");
    assert_eq!([Lang::En.percent(0.254), Lang::ZhCn.percent(0.254)], ["25 %", "25%"]);
    assert_eq!([Lang::En.percents(0.18, 0.333), Lang::ZhCn.percents(0.18, 0.333)], ["18–33 %", "18%–33%"]);
    assert_eq!([f64::NAN, -1.0, 7.0].map(|share| Lang::En.percent(share)), ["0 %", "0 %", "100 %"]);
}

#[test]
fn languages_can_be_told_apart() {
    let [a, b] = Lang::ALL;
    assert!(a.tag() != b.tag() && a.name() != b.name());
}

#[test]
fn what_a_language_lacks_is_said_in_english() {
    let lacking = Texts::read("zh-CN", "other = 别的\nbroken = { $\n");
    assert_eq!(lacking.say("other", &[]).as_deref(), Some("别的"));
    assert_eq!(lacking.say("just-now", &[]), None);
    assert_eq!(lacking.say("broken", &[]), None);
    assert_eq!(Lang::ZhCn.format("no-such-key", &[]), "no-such-key");
}
