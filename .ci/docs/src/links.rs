//! Links between the pages of the repository must lead somewhere.

use std::collections::{BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{Event, LinkType, Options, Parser, Tag, TagEnd};

use crate::{Outcome, files};

/// Checks every page below a folder: relative links must name a file, and a heading if they name one.
///
/// # Errors
///
/// If a file cannot be read.
pub fn check(root: &Path) -> Outcome {
    let root = root.canonicalize()?;
    let mut pages = HashMap::new();
    for file in files::below(&root, "md")? {
        let page = Page::read(&std::fs::read_to_string(&file)?);
        pages.insert(file, page);
    }
    let mut complaints = Vec::new();
    for (file, page) in &pages {
        let folder = file.parent().unwrap_or(&root);
        let package = package_of(folder);
        for link in &page.links {
            if let Some(why) = wrong(link, file, &pages, package) {
                let shown = file.strip_prefix(&root).unwrap_or(file).display();
                complaints.push(format!("{shown}: {link}: {why}"));
            }
        }
    }
    complaints.sort();
    Ok(complaints)
}

/// The folder, if it is that of a package: its README is shown on a registry, where no other file of the repository is.
fn package_of(folder: &Path) -> Option<&Path> {
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).ok()?;
    (manifest.contains("[package]") && !manifest.contains("publish = false")).then_some(folder)
}

/// What is wrong with a link, if anything is.
fn wrong(
    link: &str,
    file: &Path,
    pages: &HashMap<PathBuf, Page>,
    package: Option<&Path>,
) -> Option<&'static str> {
    let scheme = link.split_once(':').map(|(scheme, _)| scheme);
    if scheme.is_some_and(|scheme| scheme.chars().all(|letter| letter.is_ascii_alphanumeric())) {
        return None;
    }
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let target = if path.is_empty() { file.to_path_buf() } else { joined(file.parent()?, path) };
    if package.is_some_and(|package| !target.starts_with(package)) {
        return Some("the page of a package must not link outside of it");
    }
    if !target.exists() {
        return Some("no such file");
    }
    let anchor = anchor?;
    match pages.get(&target) {
        Some(page) if page.anchors.contains(anchor) => None,
        Some(_) => Some("no such heading"),
        None => Some("only pages have headings"),
    }
}

/// The path with `..` resolved.
fn joined(folder: &Path, path: &str) -> PathBuf {
    let mut joined = folder.to_path_buf();
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => drop(joined.pop()),
            Component::CurDir => {}
            part => joined.push(part),
        }
    }
    joined
}

/// What a page links to, and what can be linked to in it.
#[derive(Debug, Default)]
struct Page {
    links: Vec<String>,
    anchors: BTreeSet<String>,
}

impl Page {
    fn read(text: &str) -> Self {
        let mut page = Self::default();
        let mut heading: Option<String> = None;
        let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_FOOTNOTES;
        // A reference without its definition is no link for the parser, and would pass unseen.
        let mut undefined = Vec::new();
        let parser = Parser::new_with_broken_link_callback(
            text,
            options,
            Some(|broken: pulldown_cmark::BrokenLink<'_>| {
                // `[text]` alone may be text.
                if broken.link_type == LinkType::Reference {
                    undefined.push(format!("[{}]", broken.reference));
                }
                None
            }),
        );
        for event in parser {
            match event {
                Event::Start(Tag::Link { link_type, dest_url, .. }) if link_type != LinkType::Email => {
                    page.links.push(dest_url.into_string());
                }
                Event::Start(Tag::Image { dest_url, .. }) => page.links.push(dest_url.into_string()),
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => page.add_heading(&heading.take().unwrap_or_default()),
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::Html(html) | Event::InlineHtml(html) => page.add_html(&html),
                _ => {}
            }
        }
        page.links.extend(undefined);
        page
    }

    /// Anchors as GitHub makes them.
    fn add_heading(&mut self, heading: &str) {
        let kept = |letter: &char| letter.is_alphanumeric() || ['-', '_', ' '].contains(letter);
        let slug: String = heading.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-");
        let mut anchor = slug.clone();
        let mut number = 0;
        while !self.anchors.insert(anchor) {
            number += 1;
            anchor = format!("{slug}-{number}");
        }
    }

    fn add_html(&mut self, html: &str) {
        for attribute in ["id=\"", "name=\""] {
            for rest in html.split(attribute).skip(1) {
                if let Some((anchor, _)) = rest.split_once('"') {
                    self.anchors.insert(anchor.to_owned());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_headings_are_found() {
        let page = Page::read(
            "# What `a_b` is: part 1\n\n[x](a.md#b) and ![y](c.svg) `[no](code.md)`\n\n## Twice\n\n## Twice\n\
             <a id=\"here\"></a>\n\n[r]: d.md\n[r][r] <https://e.org>\n\n[z][missing]\n\n```\n[no](block.md)\n```\n",
        );
        assert_eq!(page.links, ["a.md#b", "c.svg", "d.md", "https://e.org", "[missing]"]);
        let anchors: Vec<&str> = page.anchors.iter().map(String::as_str).collect();
        assert_eq!(anchors, ["here", "twice", "twice-1", "what-a_b-is-part-1"]);
    }

    #[test]
    fn a_link_leads_to_a_file_and_a_heading() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let file = root.join("page.md");
        let pages = HashMap::from([(file.clone(), Page::read("# One\n"))]);
        let wrong = |link| wrong(link, &file, &pages, None);
        assert_eq!(wrong("https://example.org/x#y"), None);
        assert_eq!(wrong("Cargo.toml"), None);
        assert_eq!(wrong("src/../src/main.rs"), None);
        assert_eq!(wrong("src"), None);
        assert_eq!(wrong("#one"), Some("no such file"), "page.md is not on the disk");
        assert_eq!(wrong("src/none.rs"), Some("no such file"));
        assert_eq!(wrong("src/main.rs#L1"), Some("only pages have headings"));
    }

    #[test]
    fn the_page_of_a_package_links_to_nothing_outside() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (file, package) = (root.join("README.md"), Some(root));
        let wrong = |link| wrong(link, &file, &HashMap::new(), package);
        assert_eq!(wrong("Cargo.toml"), None);
        assert_eq!(wrong("../run"), Some("the page of a package must not link outside of it"));
    }

    #[test]
    fn a_heading_that_is_not_there_is_noticed() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let pages = HashMap::from([(file.clone(), Page::read("# One\n"))]);
        assert_eq!(wrong("#one", &file, &pages, None), None);
        assert_eq!(wrong("#two", &file, &pages, None), Some("no such heading"));
        assert_eq!(wrong("[missing]", &file, &pages, None), Some("no such file"));
    }
}
