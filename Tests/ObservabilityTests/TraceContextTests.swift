import Observability
import TestSupport
import Testing
import Tracing

/// W3C Trace Context: examples of the recommendation, and what it refuses.
@Suite struct TraceContextTests {
    private static let example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    @Test func `the example of the recommendation`() throws {
        let trace = try #require(TraceContext(traceparent: Self.example))
        #expect(trace.traceID.hex == "4bf92f3577b34da6a3ce929d0e0e4736")
        #expect(trace.spanID.hex == "00f067aa0ba902b7")
        #expect(trace.isSampled && trace.isRemote)
        #expect(trace.traceparent == Self.example)
        let other = try #require(
            TraceContext(traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"))
        #expect(!other.isSampled)
    }

    @Test(arguments: [
        // Flags: only the lowest bit is known.
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff", true),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02", false),
        // Higher versions are read as far as they are the same.
        ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
        ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-will-be-like", true),
        ("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-", false),
    ]) func accepted(field: String, sampled: Bool) throws {
        let trace = try #require(TraceContext(traceparent: field))
        #expect(trace.isSampled == sampled)
        // It goes on in the version that is known.
        #expect(
            trace.traceparent == "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-\(sampled ? "01" : "00")")
    }

    @Test(arguments: [
        "", "00", "-", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00F067AA0BA902B7-01",
        "0A-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0A",
        // Version 00 ends there.
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.",
        "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what",
        "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
        " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e47é6-00f067aa0ba902b7-01",
        // The field came twice.
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01, "
            + "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ]) func refused(field: String) {
        #expect(TraceContext(traceparent: field) == nil)
    }

    @Test func `any bytes are read or refused, and what is read is written back`() {
        var generator = SeededGenerator(66)
        let alphabet = Array("0123456789abcdefABCDEF-f0".utf8)
        var read = 0
        for _ in 0..<20_000 {
            var bytes = Array(Self.example.utf8)
            for _ in 0..<Int.random(in: 0...3, using: &generator) {
                let index = Int.random(in: 0..<bytes.count, using: &generator)
                switch Int.random(in: 0..<3, using: &generator) {
                case 0: bytes[index] = alphabet.randomElement(using: &generator) ?? 0
                case 1: bytes[index] = UInt8.random(in: 0...255, using: &generator)
                default: bytes.remove(at: index)
                }
            }
            let text = String(decoding: bytes, as: UTF8.self)
            guard let trace = TraceContext(traceparent: text) else { continue }
            read += 1
            #expect(trace.traceparent.dropFirst(2).prefix(51) == text.dropFirst(2).prefix(51))
            #expect(TraceContext(traceparent: trace.traceparent) == trace)
        }
        #expect(read > 4000)
    }

    @Test func `new ids are random and can be read`() {
        let traces = (0..<1000).map { _ in TraceContext(isSampled: true) }
        #expect(Set(traces.map(\.traceID)).count == 1000 && Set(traces.map(\.spanID)).count == 1000)
        for trace in traces { #expect(TraceContext(traceparent: trace.traceparent)?.spanID == trace.spanID) }
    }

    // MARK: tracestate

    @Test(arguments: [
        ("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        ("rojo=00f067aa0ba902b7 ,\tcongo=t61rcWkgMzE", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        ("fw529a3039@dt=FfWeUmo,,", "fw529a3039@dt=FfWeUmo"), ("a=b c", "a=b c"), ("0_-*/x=~!", "0_-*/x=~!"), ("", ""),
    ]) func stateAccepted(field: String, text: String) throws {
        #expect(try #require(TraceState(field)).text == text)
    }

    @Test(arguments: [
        "a", "=b", "a=", "A=b", "a=b=c", "a=b,a=c", "a b=c", "a=é", "a=\u{1}", "_a=b", "a\n=b",
        String(repeating: "a", count: 257) + "=b", "a=" + String(repeating: "b", count: 257),
        (0..<33).map { "k\($0)=v" }.joined(separator: ","),
    ]) func stateRefused(field: String) {
        #expect(TraceState(field) == nil)
    }

    @Test func `members beyond 512 bytes are left out, never cut`() throws {
        let members = (0..<5).map { "k\($0)=" + String(repeating: "v", count: 150) }
        #expect(try #require(TraceState(members.joined(separator: ","))).text == members[0..<3].joined(separator: ","))
    }
}
