import Foundation
import ServiceKit
import Testing

@Suite struct ProblemTests {
    private let problem = Problem(
        name: "key-set-unknown", title: "Unknown key set", status: 404, detail: "no key set ks/1",
        fix: "Register it first.", retryAfterSeconds: 3)

    @Test func bodyHasSortedMembers() {
        #expect(
            text(problem.with(instance: "r-1").encoded())
                == #"{"detail":"no key set ks/1","fix":"Register it first.","instance":"r-1","retryAfterSeconds":3,"#
                + #""status":404,"title":"Unknown key set","type":"urn:hkms:problem:key-set-unknown"}"#)
        #expect(problem.name == "key-set-unknown")
        #expect(!text(Problem(name: "n", title: "t", status: 400, detail: "", fix: "").encoded()).contains("instance"))
    }

    @Test func whatIsEncodedDecodes() {
        let problem = problem.with(instance: "r-1")
        #expect(Problem(decoding: problem.encoded(), status: 404) == problem)
    }

    @Test func theStatusLineWins() {
        #expect(Problem(decoding: problem.encoded(), status: 410).status == 410)
    }

    @Test func foreignBodiesGiveABlankProblem() {
        for body in ["", "<html>502</html>", "[]", "null", "7", "\u{feff}{", String(repeating: "[", count: 60_000)] {
            let problem = Problem(decoding: Array(body.utf8), status: 502)
            #expect(problem.type == "about:blank")
            #expect(problem.status == 502)
            #expect(problem.detail == "")
        }
        let long = Problem(decoding: [UInt8](repeating: 0x20, count: 70_000), status: 500)
        #expect(long.type == "about:blank")
    }

    @Test func wrongTypesCountAsAbsentAndLongTextIsCut() {
        let long = String(repeating: "x", count: 10_000)
        let body = #"{"type":7,"title":null,"detail":"\#(long)","retryAfterSeconds":-1,"more":{"a":[1]}}"#
        let problem = Problem(decoding: Array(body.utf8), status: 500)
        #expect(problem.type == "about:blank")
        #expect(problem.title == "HTTP status 500")
        #expect(problem.detail.count == Problem.maximumMemberCharacters)
        #expect(problem.retryAfterSeconds == nil)
    }

    @Test func anyBodyDecodes() {
        fuzz(20_000, seeds: [problem.encoded()], alphabet: #"{}[]":,0123456789truefalsenull\u"#) { bytes in
            let problem = Problem(decoding: bytes, status: 500)
            #expect(problem.status == 500)
        }
    }

    @Test func errorsTellThemselves() {
        let errors: [any ProblemConvertible] = [
            problem, OctetBundleError.truncated, OctetBundleError.tooManyBytes(maximum: 1), SignatureError.replayed,
            SignatureError.nonceCacheFull, ComputePoolError.saturated, ComputePoolError.shutDown,
        ]
        #expect(errors.map(\.problem.status) == [404, 400, 413, 401, 503, 503, 503])
        for error in errors {
            #expect(!error.problem.fix.isEmpty && !error.problem.detail.isEmpty)
            if error.problem.status == 503 { #expect(error.problem.retryAfterSeconds != nil) }
        }
    }
}
