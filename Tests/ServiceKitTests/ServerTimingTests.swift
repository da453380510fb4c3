import ServiceKit
import Testing

@Suite struct ServerTimingTests {
    @Test func writesAndReads() {
        var timing = ServerTiming()
        timing.append("derive", milliseconds: 12.5)
        timing.append("seal", .microseconds(1))
        timing.append("total", milliseconds: 100)
        #expect(timing.fieldValue == "derive;dur=12.5, seal;dur=0.001, total;dur=100")
        #expect(ServerTiming(fieldValue: timing.fieldValue) == timing)
        #expect(ServerTiming().fieldValue == "")
        #expect(ServerTiming(fieldValue: "").entries == [])
    }

    @Test func readsTheFormsOfOthers() {
        let timing = ServerTiming(fieldValue: #"cache;desc="Cache, \"Read\";dur=9";dur=23.2 ,miss, db ; DUR="53";x"#)
        #expect(timing.entries == [.init(name: "cache", milliseconds: 23.2), .init(name: "db", milliseconds: 53)])
    }

    @Test func skipsWhatIsNoDuration() {
        let bad = "a;dur=, b;dur=nan, c;dur=-1, d;dur=1e400, e f;dur=1, ;dur=1, g;dur=0x, \u{e9};dur=1, h;dur=1e13"
        #expect(ServerTiming(fieldValue: bad).entries == [])
    }

    @Test func isBounded() {
        let many = (0..<1_000).map { "n\($0);dur=1" }.joined(separator: ",")
        #expect(ServerTiming(fieldValue: many).entries.count == ServerTiming.maximumEntries)
        #expect(ServerTiming(fieldValue: many + String(repeating: " ", count: 20_000)).entries.isEmpty)
    }

    @Test func badTimingsAreBroughtIntoRange() {
        let timing = ServerTiming([
            .init(name: "a b\r\nX: y", milliseconds: .infinity), .init(name: "", milliseconds: .nan),
            .init(name: "n", milliseconds: -1),
        ])
        #expect(timing.fieldValue == "a_b__X__y;dur=1000000000000, _;dur=0, n;dur=0")
    }

    @Test func measuresAlsoWhatThrows() {
        struct Failure: Error {}
        var timing = ServerTiming()
        #expect(throws: Failure.self) { try timing.measure("part") { () throws(Failure) in throw Failure() } }
        #expect(timing.entries.map(\.name) == ["part"])
    }

    @Test func anyTextIsRead() {
        let seed = Array(#"cache;desc="Cache Read";dur=23.2, db;dur=53"#.utf8)
        fuzz(20_000, seeds: [seed], alphabet: #"abcdur=;,". 0123456789eE+-\"#) { bytes in
            let timing = ServerTiming(fieldValue: text(bytes))
            #expect(ServerTiming(fieldValue: timing.fieldValue).entries.map(\.name) == timing.entries.map(\.name))
        }
    }
}
