//! How are the lines of a tree drawn?

use crate::look::Look;

/// Levels that are drawn; what is deeper says how deep it is.
const LEVELS: usize = 12;

/// What stands before one line of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Branch {
    /// Before the line itself.
    pub(crate) lead: String,
    /// Before lines beneath it that explain it.
    pub(crate) below: String,
}

/// What stands before each line of a tree that is written as a list, each node right before what is inside it.
pub(crate) fn branches(depths: &[u32], look: &Look) -> Vec<Branch> {
    let level_of = |depth: u32| usize::try_from(depth).map_or(LEVELS, |depth| depth.min(LEVELS));
    let levels: Vec<usize> = depths.iter().map(|depth| level_of(*depth)).collect();
    let mut branches = Vec::with_capacity(levels.len());
    // From the last line up: whether a level goes on further down.
    let mut goes_on = [false; LEVELS + 1];
    for (index, level) in levels.iter().copied().enumerate().rev() {
        let mut before = String::new();
        for goes_on in goes_on.iter().take(level).skip(1) {
            before.push_str(if *goes_on { look.pick("│  ", "|  ") } else { "   " });
        }
        let (mut lead, mut below) = (before.clone(), before);
        if level > 0 {
            let (own, under) = if goes_on[level] {
                (look.pick("├─ ", "|- "), look.pick("│  ", "|  "))
            } else {
                (look.pick("└─ ", "`- "), "   ")
            };
            lead.push_str(own);
            below.push_str(under);
        }
        if level == LEVELS && depths[index] as usize > LEVELS {
            lead.push_str(&format!("[{}] ", depths[index]));
        }
        let has_inside = levels.get(index + 1).is_some_and(|next| *next > level);
        below.push_str(if has_inside { look.pick("│", "|") } else { " " });
        branches.push(Branch { lead, below });
        goes_on[level] = true;
        goes_on[level + 1..].fill(false);
    }
    branches.reverse();
    branches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(depths: &[u32], unicode: bool) -> String {
        let look = Look { width: 80, color: false, unicode };
        let lines = branches(depths, &look).into_iter().zip(depths);
        lines.map(|(branch, depth)| format!("{}{depth}", branch.lead)).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn lines_lead_from_each_node_to_what_is_inside_it() {
        insta::assert_snapshot!(drawn(&[0, 1, 2, 3, 1, 2, 2, 0, 1], true), @"
        0
        ├─ 1
        │  └─ 2
        │     └─ 3
        └─ 1
           ├─ 2
           └─ 2
        0
        └─ 1
        ");
        insta::assert_snapshot!(drawn(&[0, 1, 2, 1], false), @"
        0
        |- 1
        |  `- 2
        `- 1
        ");
    }

    #[test]
    fn any_depth_has_a_line_of_bounded_length() {
        let deep: Vec<u32> = (0..10_000).collect();
        for depths in [&deep[..], &[u32::MAX, 0, u32::MAX], &[5]] {
            let look = Look { width: 80, color: false, unicode: true };
            assert!(branches(depths, &look).iter().all(|branch| branch.lead.chars().count() <= 3 * LEVELS + 14));
        }
        assert!(drawn(&deep, true).ends_with("└─ [9999] 9999"));
    }
}
