import KeyManagement
import Testing

/// The key of this name, or a failed test.
func key(_ name: String) throws -> ObjectKey {
    try #require(ObjectKey(name))
}

/// What every object store promises.
enum ObjectStoreConformance {
    static let checks: [Check<any ObjectStore>] = [
        Check("what was put is got") { store, space in
            for count in [0, 1, 4096, 3 << 20 + 1] {
                let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
                try await store.put(bytes, at: key("\(space)/size-\(count)"), onlyIfAbsent: false)
                #expect(try await store.get(key("\(space)/size-\(count)"), limit: count) == bytes)
            }
        },
        Check("a missing object is not found") { store, space in
            for name in [space, "\(space)/a", "\(space)/a/b"] {
                await #expect(throws: ObjectStoreError.notFound(name)) { try await store.get(key(name), limit: 1) }
            }
        },
        Check("a folder is no object") { store, space in
            try await store.put([1], at: key("\(space)/a/b"), onlyIfAbsent: false)
            await #expect(throws: ObjectStoreError.notFound("\(space)/a")) {
                try await store.get(key("\(space)/a"), limit: 1)
            }
            await #expect(throws: ObjectStoreError.notFound("\(space)/a/b/c")) {
                try await store.get(key("\(space)/a/b/c"), limit: 1)
            }
            try await store.delete(key("\(space)/a"))
            try await store.delete(key("\(space)/a/b/c"))
            #expect(try await store.get(key("\(space)/a/b"), limit: 1) == [1])
        },
        Check("put replaces") { store, space in
            try await store.put([1, 2, 3], at: key(space), onlyIfAbsent: false)
            try await store.put([4], at: key(space), onlyIfAbsent: false)
            #expect(try await store.get(key(space), limit: 10) == [4])
        },
        Check("put with onlyIfAbsent does not replace") { store, space in
            try await store.put([1], at: key(space), onlyIfAbsent: true)
            await #expect(throws: ObjectStoreError.alreadyExists(space)) {
                try await store.put([2], at: key(space), onlyIfAbsent: true)
            }
            #expect(try await store.get(key(space), limit: 10) == [1])
            try await store.delete(key(space))
            try await store.put([3], at: key(space), onlyIfAbsent: true)
            #expect(try await store.get(key(space), limit: 10) == [3])
        },
        Check("get keeps to the limit") { store, space in
            try await store.put([1, 2, 3], at: key(space), onlyIfAbsent: false)
            #expect(try await store.get(key(space), limit: 3) == [1, 2, 3])
            for limit in [2, 0, -1] {
                await #expect(throws: ObjectStoreError.tooLarge(space, limit: limit)) {
                    try await store.get(key(space), limit: limit)
                }
            }
        },
        Check("delete removes, and twice is no error") { store, space in
            try await store.put([1], at: key("\(space)/a/b"), onlyIfAbsent: false)
            try await store.put([2], at: key("\(space)/a/c"), onlyIfAbsent: false)
            for _ in 1...2 {
                try await store.delete(key("\(space)/a/b"))
                await #expect(throws: ObjectStoreError.notFound("\(space)/a/b")) {
                    try await store.get(key("\(space)/a/b"), limit: 1)
                }
            }
            #expect(try await store.get(key("\(space)/a/c"), limit: 1) == [2])
            try await store.delete(key("\(space)/no/such/object"))
        },
        Check("list is in byte order and by prefix") { store, space in
            let names = ["A", "a", "a-b", "a.b", "a0", "aa", "b/c", "b/d/e", "b-", "b0", "c_", "z"]
            let inOrder = ["A", "a", "a-b", "a.b", "a0", "aa", "b-", "b/c", "b/d/e", "b0", "c_", "z"]
            for name in names.shuffled() {
                try await store.put([], at: key("\(space)/\(name)"), onlyIfAbsent: true)
            }
            for prefix in ["", "a", "a.", "b", "b/", "b/d", "b/d/", "b/d/e", "b/d/e/", "q", "z"] {
                let found = try await store.list(prefix: "\(space)/\(prefix)").map(\.value)
                #expect(
                    found == inOrder.filter { $0.hasPrefix(prefix) }.map { "\(space)/\($0)" }, "prefix \(prefix)")
            }
            #expect(try await store.list(prefix: space).count == names.count)
            #expect(try await store.list(prefix: "").count >= names.count)
        },
        Check("no prefix leads out of the store") { store, space in
            try await store.put([1], at: key("\(space)/a"), onlyIfAbsent: true)
            let long = String(repeating: "a/", count: 4000)
            for prefix in [
                "/", "..", "../", "\(space)/../", "\(space)/./a", "//", ".", "/etc/", "\(space)/\u{0}",
                "\(space)/a\u{301}", "\(space)//a", long,
            ] {
                #expect(try await store.list(prefix: prefix).isEmpty, "prefix \(prefix.debugDescription)")
            }
        },
        Check("one of 16 with onlyIfAbsent wins") { store, space in
            for round in 0..<20 {
                let name = try key("\(space)/\(round)")
                let winners = try await withThrowingTaskGroup(of: UInt8?.self) { group in
                    for writer in UInt8(0)..<16 {
                        group.addTask {
                            do throws(ObjectStoreError) {
                                try await store.put(
                                    [UInt8](repeating: writer, count: 5000), at: name, onlyIfAbsent: true)
                                return writer
                            } catch let error where error == .alreadyExists(name.value) {
                                return nil
                            }
                        }
                    }
                    return try await group.reduce(into: [UInt8]()) { if let winner = $1 { $0.append(winner) } }
                }
                let winner = try #require(winners.first)
                #expect(winners.count == 1)
                #expect(try await store.get(name, limit: 5000) == [UInt8](repeating: winner, count: 5000))
            }
        },
        Check("a reader sees the old object or the new one") { store, space in
            let name = try key(space)
            // Of different lengths, so that a mixture shows in either way.
            func version(_ number: Int) -> [UInt8] {
                [UInt8](repeating: UInt8(number), count: 200_000 + number * 1000)
            }
            try await store.put(version(0), at: name, onlyIfAbsent: true)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    for number in 1...60 { try await store.put(version(number), at: name, onlyIfAbsent: false) }
                }
                for _ in 0..<4 {
                    group.addTask {
                        var last = 0
                        while last < 60 {
                            let bytes = try await store.get(name, limit: 1 << 20)
                            let number = Int(try #require(bytes.first))
                            try #require(bytes == version(number))
                            try #require(number >= last)
                            last = number
                        }
                    }
                }
                try await group.waitForAll()
            }
        },
        Check("writers and deleters in one folder do not disturb each other") { store, space in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for writer in UInt8(0)..<8 {
                    group.addTask {
                        let name = try key("\(space)/x/y/\(writer)")
                        for round in UInt8(0)..<40 {
                            try await store.put([writer, round], at: name, onlyIfAbsent: round % 2 == 0)
                            try #require(try await store.get(name, limit: 2) == [writer, round])
                            try await store.delete(name)
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await store.list(prefix: space).isEmpty)
        },
        Check("a healthy store says so, and the check leaves nothing") { store, space in
            let before = try await store.list(prefix: "")
            try await store.checkHealth()
            #expect(try await store.list(prefix: "") == before)
        },
    ]
}
