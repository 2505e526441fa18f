//! How is a page of a list asked for, so that its answer takes bounded time whatever is wanted?

use tokio_postgres::{
    Client, Row,
    types::{ToSql, Type},
};

use crate::store::StoreError;

/// Rows that one page looks at; a page ends there, and the next one goes on.
pub(super) const MOST_LOOKED_AT: i64 = 20_000;

/// A value and what it is: with both, a query takes one way to the server and back, and is planned for these values.
pub(super) type Value<'a> = (&'a (dyn ToSql + Sync), Type);

/// A list, and what of it is wanted.
pub(super) struct PageQuery<'a> {
    table: &'static str,
    columns: &'static str,
    order: &'static str,
    /// Conditions that an index answers: they say where to look.
    places: Vec<String>,
    /// Conditions that each row is asked.
    wishes: Vec<String>,
    values: Vec<Value<'a>>,
}

/// What was found.
pub(super) struct Found<T> {
    /// At most as many as the page has.
    pub(super) items: Vec<T>,
    /// The last row that was looked at, where there may be more.
    pub(super) more_after: Option<T>,
}

impl<'a> PageQuery<'a> {
    pub(super) fn new(table: &'static str, columns: &'static str, order: &'static str) -> Self {
        Self { table, columns, order, places: Vec::new(), wishes: Vec::new(), values: Vec::new() }
    }

    /// Adds a condition that an index answers; `?` in it stands for the values, in order.
    pub(super) fn look_where(&mut self, condition: &str, values: &[Value<'a>]) {
        let text = self.numbered(condition, values);
        self.places.push(text);
    }

    /// Adds a condition that each row is asked; `?` in it stands for the values, in order.
    pub(super) fn want(&mut self, condition: &str, values: &[Value<'a>]) {
        let text = self.numbered(condition, values);
        self.wishes.push(text);
    }

    /// A page of at most `size` rows, as `read` makes them.
    pub(super) async fn ask<T>(
        &self,
        client: &Client,
        size: usize,
        read: impl Fn(&Row) -> Result<T, StoreError>,
    ) -> Result<Found<T>, StoreError> {
        let rows = client.query_typed(&self.text(size), &self.values).await?;
        let mut found = Found { items: Vec::new(), more_after: None };
        for row in rows.iter().take(size) {
            if self.wishes.is_empty() || row.try_get("wanted")? {
                found.items.push(read(row)?);
            }
        }
        let end = match rows.last() {
            // One more than the page has: the next page begins after the page's last.
            _ if rows.len() > size => rows.get(size - 1),
            // The last row that this page may look at, wanted or not.
            Some(last) if !self.wishes.is_empty() && last.try_get::<_, i64>("place")? == MOST_LOOKED_AT => Some(last),
            _ => None,
        };
        found.more_after = end.map(read).transpose()?;
        Ok(found)
    }

    fn text(&self, size: usize) -> String {
        let Self { table, columns, order, .. } = self;
        let places =
            if self.places.is_empty() { String::new() } else { format!("WHERE {}", self.places.join(" AND ")) };
        let limit = size + 1;
        if self.wishes.is_empty() {
            return format!("SELECT {columns} FROM {table} {places} ORDER BY {order} LIMIT {limit}");
        }
        let wanted = self.wishes.join(" AND ");
        format!(
            "SELECT {columns}, wanted, place FROM ( \
                 SELECT *, coalesce({wanted}, false) AS wanted, row_number() OVER (ORDER BY {order}) AS place \
                 FROM {table} {places} ORDER BY {order} LIMIT {MOST_LOOKED_AT}) AS looked_at \
             WHERE wanted OR place = {MOST_LOOKED_AT} ORDER BY {order} LIMIT {limit}"
        )
    }

    fn numbered(&mut self, condition: &str, values: &[Value<'a>]) -> String {
        let mut text = String::new();
        let mut values = values.iter();
        for (index, part) in condition.split('?').enumerate() {
            if index > 0 {
                self.values.extend(values.next().cloned());
                text.push_str(&format!("${}", self.values.len()));
            }
            text.push_str(part);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_numbered_through() {
        let (since, route) = (5_i64, "orders");
        let mut query = PageQuery::new("events", "ts, route", "ts");
        assert_eq!(query.text(9), "SELECT ts, route FROM events  ORDER BY ts LIMIT 10");
        query.look_where("ts >= ?", &[(&since, Type::INT8)]);
        query.look_where("status = 1", &[]);
        query.want("(route, 1) = (?, ?)", &[(&route, Type::TEXT), (&since, Type::INT8)]);
        let text = query.text(9);
        assert!(text.contains("WHERE ts >= $1 AND status = 1 ORDER BY ts LIMIT 20000"), "{text}");
        assert!(text.contains("coalesce((route, 1) = ($2, $3), false) AS wanted"), "{text}");
        assert_eq!(query.values.len(), 3);
    }
}
