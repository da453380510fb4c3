import KeyManagement
import Testing

/// What every metadata store promises.
enum MetadataStoreConformance {
    static let checks: [Check<any MetadataStore>] = [
        Check("an inserted row is read") { store, space in
            #expect(try await store.read(collection: space, id: "a") == nil)
            for body in [[], [0], [UInt8](repeating: 0xA5, count: 100_000)] {
                let record = row(space, "a\(body.count)", body: body)
                try await store.apply([.insert(record)])
                #expect(try await store.read(collection: space, id: record.id) == record)
            }
            #expect(try await store.read(collection: space + "x", id: "a0") == nil)
        },
        Check("an insert over a row conflicts") { store, space in
            try await store.apply([.insert(row(space, "a", body: [1]))])
            await #expect(throws: MetadataStoreError.conflict(collection: space, id: "a")) {
                try await store.apply([.insert(row(space, "a", body: [2]))])
            }
            #expect(try await store.read(collection: space, id: "a")?.body == [1])
        },
        Check("an update needs the version before") { store, space in
            try await store.apply([.insert(row(space, "a", body: [1]))])
            try await store.apply([.update(row(space, "a", index: "other", version: 2, body: [2]))])
            let second = row(space, "a", index: "other", version: 2, body: [2])
            #expect(try await store.read(collection: space, id: "a") == second)
            for version in [1, 2, 4, .max] {
                await #expect(throws: MetadataStoreError.conflict(collection: space, id: "a")) {
                    try await store.apply([.update(row(space, "a", version: version, body: [3]))])
                }
            }
            await #expect(throws: MetadataStoreError.conflict(collection: space, id: "b")) {
                try await store.apply([.update(row(space, "b", version: 2))])
            }
            #expect(try await store.read(collection: space, id: "a") == second)
            #expect(try await list(store, space, "index") == [])
            #expect(try await list(store, space, "other") == ["a"])
        },
        Check("a delete needs the version") { store, space in
            try await store.apply([.insert(row(space, "a")), .insert(row(space, "b"))])
            for version in [0, 2, -1, .min] {
                await #expect(throws: MetadataStoreError.conflict(collection: space, id: "a")) {
                    try await store.apply([.delete(collection: space, id: "a", version: version)])
                }
            }
            try await store.apply([.delete(collection: space, id: "a", version: 1)])
            #expect(try await store.read(collection: space, id: "a") == nil)
            #expect(try await store.read(collection: space, id: "b") != nil)
            await #expect(throws: MetadataStoreError.conflict(collection: space, id: "a")) {
                try await store.apply([.delete(collection: space, id: "a", version: 1)])
            }
        },
        Check("a transaction is done whole or not at all") { store, space in
            try await store.apply([])
            try await store.apply([.insert(row(space, "a")), .insert(row(space, "b"))])
            let changes: [MetadataChange] = [
                .insert(row(space, "c")),
                .update(row(space, "a", version: 2, body: [9])),
                .delete(collection: space, id: "b", version: 1),
            ]
            for last in [
                MetadataChange.insert(row(space, "a")), .update(row(space, "a", version: 2)),
                .delete(collection: space, id: "a", version: 1),
            ] {
                await #expect(throws: MetadataStoreError.conflict(collection: space, id: "a")) {
                    try await store.apply(changes + [last])
                }
                #expect(try await list(store, space, "index") == ["a", "b"])
                #expect(try await store.read(collection: space, id: "a")?.version == 1)
            }
            try await store.apply(changes + [.update(row(space, "c", version: 2))])
            #expect(try await list(store, space, "index") == ["a", "c"])
            #expect(try await store.read(collection: space, id: "c")?.version == 2)
        },
        Check("list is by index, in byte order, page by page") { store, space in
            // UTF-16 order differs in the last two, canonical equivalence would make one of é and é.
            let ids = ["", "A", "Z", "a", "a ", "ab", "e\u{301}", "z", "\u{E9}", "\u{FF5E}", "\u{10000}"]
            try await store.apply(ids.shuffled().map { .insert(row(space, $0)) })
            try await store.apply([
                .insert(row(space, "ac", index: "index2")), .insert(row(space, "ad", index: "inde")),
                .insert(row(space + "2", "ae")),
            ])
            for limit in [1, 2, 3, 10, 11, 12, 1000] {
                let found = try await pages(store, space, "index", limit: limit)
                #expect(found.allSatisfy { $0 == row(space, $0.id) })
                // Compared as bytes: as strings, é and é are equal.
                #expect(found.map { Array($0.id.utf8) } == ids.map { Array($0.utf8) }, "pages of \(limit)")
            }
            #expect(try await list(store, space, "index", after: "aZ") == Array(ids[5...]))
            #expect(try await list(store, space, "none") == [])
        },
        Check("a page holds 1 to 1000 rows") { store, space in
            for limit in [0, -1, 1001, .max, .min] {
                await expectUnavailable {
                    _ = try await store.list(collection: space, index: "index", after: nil, limit: limit)
                }
            }
        },
        Check("a row keeps to its limits") { store, space in
            func text(_ count: Int) -> String { String(repeating: "x", count: count) }
            // 2 bytes a character: the limit is one of bytes.
            let wide = space + String(repeating: "\u{E9}", count: (256 - space.utf8.count) / 2)
            let atLimit = [
                row(space, text(256)), row(space, "index", index: text(256)), row(space, wide),
                row(space + text(64 - space.utf8.count), "a"),
                row(space, "body", body: [UInt8](repeating: 7, count: 1 << 20)),
            ]
            for record in atLimit {
                try await store.apply([.insert(record)])
                #expect(try await store.read(collection: record.collection, id: record.id) == record)
            }
            for record in [
                row(space, text(257)), row(space, "b", index: text(257)), row(space, wide + "\u{E9}"),
                row(space + text(65 - space.utf8.count), "b"),
                row(space, "b", body: [UInt8](repeating: 7, count: 1 << 20 + 1)),
                row(space, "b", version: 0), row(space, "b", version: .min),
                row(space, "a\u{0}b"), row(space, "b", index: "\u{0}"), row(space + "\u{0}", "b"),
            ] {
                await expectUnavailable { try await store.apply([.insert(row(space, "first")), .insert(record)]) }
                await expectUnavailable { try await store.apply([.insert(row(space, "first")), .update(record)]) }
            }
            #expect(try await store.read(collection: space, id: "first") == nil)
            #expect(try await store.read(collection: space, id: text(257)) == nil)
        },
        Check("a NUL does not make one name of two") { store, space in
            try await store.apply([.insert(row(space, "a"))])
            #expect(try await store.read(collection: space, id: "a\u{0}b") == nil)
            #expect(try await list(store, space, "index\u{0}") == [])
            await #expect(throws: MetadataStoreError.conflict(collection: space, id: "a\u{0}b")) {
                try await store.apply([.delete(collection: space, id: "a\u{0}b", version: 1)])
            }
            #expect(try await store.read(collection: space, id: "a") != nil)
        },
        Check("concurrent increments lose none") { store, space in
            try await store.apply([.insert(row(space, "counter", body: bytes(of: 0)))])
            try await increment([store], space, tasks: 32, times: 20)
        },
        Check("concurrent transactions over the same rows stay whole") { store, space in
            // Every transaction moves one unit between two rows; their sum stays.
            try await store.apply((0..<4).map { .insert(row(space, "\($0)", body: bytes(of: 1000))) })
            try await withThrowingTaskGroup(of: Void.self) { group in
                for task in 0..<8 {
                    group.addTask {
                        for round in 0..<10 {
                            let from = (task + round) % 4
                            let to = (from + 1 + task % 3) % 4
                            try await retry { try await move(store, space, from: "\(from)", to: "\(to)") }
                        }
                    }
                }
                try await group.waitForAll()
            }
            let rows = try await store.list(collection: space, index: "index", after: nil, limit: 10)
            #expect(rows.map { number(in: $0.body) }.reduce(0, +) == 4000)
        },
        Check("a healthy store says so, twice") { store, _ in
            try await store.checkHealth()
            try await store.checkHealth()
        },
    ]

    private static func list(
        _ store: any MetadataStore, _ collection: String, _ index: String, after: String? = nil
    ) async throws -> [String] {
        try await store.list(collection: collection, index: index, after: after, limit: 1000).map(\.id)
    }

    /// All rows, by as many full pages as it takes and a last one that is not full. Of no use for 100
    /// rows or more: a store that repeats itself must not hang the test.
    private static func pages(
        _ store: any MetadataStore, _ collection: String, _ index: String, limit: Int
    ) async throws -> [MetadataRecord] {
        var found: [MetadataRecord] = []
        var page: [MetadataRecord]
        repeat {
            page = try await store.list(collection: collection, index: index, after: found.last?.id, limit: limit)
            found += page
        } while page.count == limit && found.count < 100
        return found
    }

    /// Moves one unit from a row to another.
    /// - Returns: false if another task was first.
    private static func move(
        _ store: any MetadataStore, _ space: String, from: String, to: String
    ) async throws -> Bool {
        var source = try #require(try await store.read(collection: space, id: from))
        var target = try #require(try await store.read(collection: space, id: to))
        source.version += 1
        source.body = bytes(of: number(in: source.body) - 1)
        target.version += 1
        target.body = bytes(of: number(in: target.body) + 1)
        do throws(MetadataStoreError) {
            try await store.apply([.update(source), .update(target)])
            return true
        } catch {
            guard case .conflict = error else { throw error }
            return false
        }
    }
}

func row(
    _ collection: String, _ id: String, index: String = "index", version: Int = 1, body: [UInt8] = [42]
) -> MetadataRecord {
    MetadataRecord(collection: collection, id: id, index: index, version: version, body: body)
}

func bytes(of number: Int) -> [UInt8] {
    Array(String(number).utf8)
}

func number(in body: [UInt8]) -> Int {
    Int(String(decoding: body, as: UTF8.self)) ?? .min / 2
}

/// Runs `body` and expects `unavailable`, for a reason that contains `text`.
func expectUnavailable(
    _ text: String = "", sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> Void
) async {
    do {
        try await body()
        Issue.record("no error was thrown", sourceLocation: sourceLocation)
    } catch MetadataStoreError.unavailable(let reason) {
        #expect(text.isEmpty || reason.contains(text), sourceLocation: sourceLocation)
    } catch ObjectStoreError.unavailable(let reason) {
        #expect(text.isEmpty || reason.contains(text), sourceLocation: sourceLocation)
    } catch {
        Issue.record("another error: \(error)", sourceLocation: sourceLocation)
    }
}

/// Tasks of all stores count one row up by read, compare and swap; expects the sum.
func increment(_ stores: [any MetadataStore], _ space: String, tasks: Int, times: Int) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
        for task in 0..<tasks {
            let store = stores[task % stores.count]
            group.addTask {
                for _ in 0..<times {
                    try await retry { try await incrementOnce(store, space) }
                }
            }
        }
        try await group.waitForAll()
    }
    let record = try await stores[0].read(collection: space, id: "counter")
    #expect(record == row(space, "counter", version: tasks * times + 1, body: bytes(of: tasks * times)))
}

/// Repeats `attempt` until it returns true.
private func retry(_ attempt: () async throws -> Bool) async throws {
    var isDone = false
    while !isDone { isDone = try await attempt() }
}

/// - Returns: false if another task was first.
private func incrementOnce(_ store: any MetadataStore, _ space: String) async throws -> Bool {
    // No `var`, and no enum pattern after `catch`: Swift 6.3.1's compiler hangs or crashes on them here.
    let old = try #require(try await store.read(collection: space, id: "counter"))
    let new = row(space, "counter", version: old.version + 1, body: bytes(of: number(in: old.body) + 1))
    do throws(MetadataStoreError) {
        try await store.apply([.update(new)])
        return true
    } catch let error where error == .conflict(collection: space, id: "counter") {
        return false
    }
}
