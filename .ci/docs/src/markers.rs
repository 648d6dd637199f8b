//! Generated parts of a page, each between `<!-- NAME:begin -->` and `<!-- NAME:end -->`.

/// The page with this text between the markers of that name, if it has them.
pub fn put(page: &str, name: &str, text: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {name}:begin -->\n"), format!("<!-- {name}:end -->"));
    let from = page.find(&begin)? + begin.len();
    let to = from + page[from..].find(&end)?;
    Some(format!("{}{}\n{}", &page[..from], text.trim(), &page[to..]))
}

#[cfg(test)]
mod tests {
    use super::put;

    #[test]
    fn a_text_takes_the_place_between_its_markers_alone() {
        let page = "a\n<!-- t:begin -->\nold\n<!-- t:end -->\n<!-- u:begin -->\nkept\n<!-- u:end -->\n";
        let new = put(page, "t", "new\n\n");
        assert_eq!(new, Some(page.replace("old", "new")));
        assert_eq!(new.and_then(|new| put(&new, "t", "new")), Some(page.replace("old", "new")));
        assert_eq!(put(page, "v", "new"), None, "it has no markers of that name");
    }
}
