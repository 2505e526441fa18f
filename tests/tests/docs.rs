//! The pages say what holds: links lead somewhere, and examples are read by the code they are about.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use journey_core::Route;
use journey_tests::repository;

#[test]
fn every_link_inside_the_repository_leads_somewhere() {
    let mut checked = 0;
    let mut broken = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            checked += 1;
            if !target.exists() {
                broken.push(format!("{}: {link}: no such file", page.display()));
            } else if !heading.is_empty() && !headings(&fs::read_to_string(&target).unwrap()).any(|has| has == heading)
            {
                broken.push(format!("{}: {link}: no such heading", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(checked > 10, "only {checked} links were found");
}

#[test]
fn the_example_of_a_route_file_is_one() {
    let page = fs::read_to_string(repository().join("docs/route-file.md")).unwrap();
    let examples = blocks(&page, "toml");
    assert_eq!(examples.len(), 1);
    let route = Route::from_toml("publish.toml", &examples[0]).unwrap();
    assert_eq!((route.name(), route.stages().len(), route.legs().len(), route.segments().len()), ("publish", 6, 4, 3));
    assert_eq!(route.find("process_frame"), route.find("P2"));

    // The message that the page shows is the one that is given.
    let wrong = examples[0].replacen("to = \"selected\"", "to = \"archvied\"", 1);
    let error = Route::from_toml("publish.toml", &wrong).unwrap_err().to_string();
    assert!(page.contains(&format!("\n{error}\n")), "{error}");
}

#[test]
fn the_tables_of_the_route_page_name_every_key() {
    let page = fs::read_to_string(repository().join("docs/route-file.md")).unwrap();
    let error = Route::from_toml("x", "nonsense = 1").unwrap_err().to_string();
    // serde lists what it expected: "expected one of `name`, `label`, ...".
    let (_, expected) = error.split_once("expected one of ").unwrap_or_else(|| panic!("{error}"));
    for key in expected.split('`').skip(1).step_by(2).filter(|key| !["stages", "legs", "segments"].contains(key)) {
        assert!(page.contains(&format!("| `{key}`")) || page.contains(&format!("`{key}` |")), "{key}");
    }
    let error = Route::from_toml("x", "name = 'x'\n[[stages]]\nnonsense = 1").unwrap_err().to_string();
    let (_, expected) = error.split_once("expected one of ").unwrap_or_else(|| panic!("{error}"));
    for key in expected.split('`').skip(1).step_by(2) {
        assert!(page.contains(&format!("\n| `{key}` |")), "{key}");
    }
}

/// Every Markdown page of the repository.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    let mut folders = vec![repository()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            let is_ours = !name.starts_with('.') && !["target", "node_modules"].contains(&name.as_str());
            if path.is_dir() && is_ours {
                folders.push(path);
            } else if Path::new(&name).extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    assert!(pages.len() >= 5, "{pages:?}");
    pages
}

/// The targets of all links outside code.
fn links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        // Every second part of a line lies between backticks.
        let prose: String =
            line.split('`').enumerate().map(|(n, part)| if n % 2 == 0 { part } else { "code" }).collect();
        let targets = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        links.extend(targets.map(|(target, _)| target.to_owned()));
    }
    links
}

/// The anchors of all headings, as forges make them.
fn headings(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter(|line| line.starts_with('#')).map(|line| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

/// The code blocks of one language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let opening = format!("```{language}\n");
    text.split(&opening)
        .skip(1)
        .filter_map(|rest| rest.split_once("\n```"))
        .map(|(block, _)| block.to_owned())
        .collect()
}
