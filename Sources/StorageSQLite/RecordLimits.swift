import KeyManagement

/// The port's limits on what a row and a page hold.
enum RecordLimits {
    /// In bytes of UTF-8.
    static let collection = 64
    static let id = 256
    static let index = 256
    static let body = 1 << 20
    /// Rows of one page of a listing.
    static let page = 1...1000

    /// - Returns: what is wrong with the row, or nil.
    static func violation(of record: MetadataRecord) -> String? {
        if let violation = violation(of: record.collection, upTo: collection, "collection") { return violation }
        if let violation = violation(of: record.id, upTo: id, "id") { return violation }
        if let violation = violation(of: record.index, upTo: index, "index") { return violation }
        guard record.version >= 1 else { return "row version \(record.version) is less than 1" }
        guard record.body.count <= body else {
            return "row exceeds the limit: body of \(record.body.count) bytes, at most \(body)"
        }
        return nil
    }

    /// Whether a row could have this name.
    static func allow(collection: String, id: String) -> Bool {
        violation(of: collection, upTo: self.collection, "") == nil && violation(of: id, upTo: self.id, "") == nil
    }

    static func violation(of text: String, upTo limit: Int, _ name: String) -> String? {
        guard text.utf8.count <= limit else {
            return "row exceeds the limit: \(name) of \(text.utf8.count) bytes, at most \(limit)"
        }
        // SQLite's text ends there, so two names would become one.
        guard !text.utf8.contains(0) else { return "row \(name) contains a NUL character" }
        return nil
    }
}
