import Attestation
import EvaluationUnit
import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import ServiceKit
import Synchronization
import Testing

/// A clock that jumps ahead and back, for the unit and its gateway alike, as that of one machine does.
@Suite struct ClockTests {
    /// What the clock shows ahead of the time, in seconds.
    private final class Clock: Sendable {
        private let ahead = Atomic(0)
        func jump(_ seconds: Int) { ahead.store(seconds, ordering: .relaxed) }
        var now: Date { Date() + Double(ahead.load(ordering: .relaxed)) }
    }

    /// A job as it was sent: the request that held it, and what it was signed with.
    private struct Sent: Sendable {
        let job: JobDescription
        let body: [UInt8]
        let fields: HTTPFields
    }

    private static func send(
        _ unit: Conversation, _ keys: KeySetFixture, _ inputs: [[UInt8]], _ clock: Clock
    ) async throws -> (sent: Sent, answer: Answer) {
        let manifest = try unit.bench.signed(keys.manifest).digest
        let job = unit.bench.job(keys, manifest: manifest, inputs: inputs) { $0.created = clock.now }
        let body = try unit.bundle(job, inputs)
        let fields = try unit.signature(.post, "/v1/evaluate", body: body, now: clock.now)
        return (Sent(job: job, body: body, fields: fields), try await unit.raw(.post, "/v1/evaluate", fields, body))
    }

    /// Neither the request nor the job in a new one is taken again.
    private static func expectRefused(_ unit: Conversation, _ sent: Sent, _ clock: Clock, _ note: Comment) async throws
    {
        let again = try await unit.raw(.post, "/v1/evaluate", sent.fields, sent.body)
        #expect(again.status == .unauthorized, note)
        let anew = try await unit.send(.post, "/v1/evaluate", body: sent.body, now: clock.now)
        #expect(anew.status.code >= 400, note)
    }

    @Test(
        "after a moment's jump nothing is taken twice, and new jobs are taken at once",
        arguments: [30, 130, 400, 610, 86_400])
    func moment(seconds: Int) async throws {
        let keys = try KeySetFixture(try Models.tiny())
        let clock = Clock()
        try await Bench(models: [keys.model]).run(clock: { clock.now }) { unit async throws in
            try await unit.bring(keys)
            let inputs = try keys.encrypt(Models.tinyRecords(3))
            let (before, taken) = try await Self.send(unit, keys, inputs, clock)
            #expect(taken.status == .ok, "\(taken.text)")
            clock.jump(seconds)
            try await Self.expectRefused(unit, before, clock, "ahead")
            let (ahead, accepted) = try await Self.send(unit, keys, inputs, clock)
            #expect(accepted.status == .ok, "\(accepted.text)")
            clock.jump(0)
            try await Self.expectRefused(unit, before, clock, "back")
            try await Self.expectRefused(unit, ahead, clock, "back")
            // Signatures count whole seconds: the next one is above all that was forgotten.
            try await Task.sleep(for: .seconds(2))
            let (_, after) = try await Self.send(unit, keys, inputs, clock)
            #expect(after.status == .ok, "\(after.text)")
            try await Self.expectRefused(unit, before, clock, "later")
        }
    }

    @Test("after a longer jump all is refused until the clock has caught up, and nothing is taken twice then")
    func longer() async throws {
        let keys = try KeySetFixture(try Models.tiny())
        let clock = Clock()
        try await Bench(models: [keys.model]).run(clock: { clock.now }) { unit async throws in
            try await unit.bring(keys)
            let inputs = try keys.encrypt(Models.tinyRecords(3))
            let (before, _) = try await Self.send(unit, keys, inputs, clock)
            clock.jump(3600)
            let (ahead, taken) = try await Self.send(unit, keys, inputs, clock)
            #expect(taken.status == .ok, "\(taken.text)")
            // So long that signatures of the time ahead are forgotten.
            clock.jump(3600 + 200)
            #expect(try await unit.send(.get, "/v1/models", now: clock.now).status == .ok)
            clock.jump(0)
            #expect(try await unit.refusal(.get, "/v1/models", now: clock.now) == "signature-expired")
            clock.jump(3600 - 200)
            #expect(try await unit.refusal(.get, "/v1/models", now: clock.now) == "signature-expired")
            clock.jump(3600 + 10)
            try await Self.expectRefused(unit, before, clock, "caught up")
            try await Self.expectRefused(unit, ahead, clock, "caught up")
            let (_, after) = try await Self.send(unit, keys, inputs, clock)
            #expect(after.status == .ok, "\(after.text)")
        }
    }
}
