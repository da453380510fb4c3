import Foundation
import KeyManagement
import Testing

/// The suite, unchanged, against every adapter. `HKMS_CONFORMANCE=software,openbao` runs those columns alone.
@Suite(.serialized) struct ConformanceTests {
    private static let columns: [ConformanceColumn] = {
        // opencryptoki's daemon needs root.
        let possible = ConformanceColumn.all.filter { $0.name != "opencryptoki" || PKCS11TestToken.isRoot }
        guard let names = ProcessInfo.processInfo.environment["HKMS_CONFORMANCE"] else { return possible }
        let chosen = Set(names.split(separator: ",").map(String.init))
        return possible.filter { chosen.contains($0.name) }
    }()

    /// Every outcome is the one that docs/kms/conformance.md tells. A call that outlives its own time limit ends here.
    @Test(.timeLimit(.minutes(5)), arguments: columns, TrustedKMSConformance.allCases)
    func holds(of column: ConformanceColumn, _ check: TrustedKMSConformance) async throws {
        let subject = try await column.make()
        let outcome: ConformanceOutcome
        do {
            outcome = try await check.run(on: subject)
            await subject.shutdown()
        } catch {
            await subject.shutdown()
            throw error
        }
        try await ConformanceTable.shared.record(outcome, check, column)
    }

    @Test(.enabled(if: !ConformanceTable.isWriting, "the document is being written"))
    func theDocumentHasEveryCaseAndColumnAndNoOther() async throws {
        let (rows, columns, isComplete) = try await ConformanceTable.shared.documented()
        #expect(rows == TrustedKMSConformance.allCases.map(\.title))
        #expect(columns == ConformanceColumn.all.map(\.name))
        #expect(isComplete)
    }

    /// The suite itself notices a KMS that binds nothing, where nothing stands before it.
    @Test(arguments: [TrustedKMSConformance.otherContextDoesNotOpen, .swappedBlobsDoNotOpen])
    func noticesWhatCompletedKMSSupplies(_ check: TrustedKMSConformance) async throws {
        let keystore = try SoftwareSubject()
        let kms = WithoutContext(inner: try await keystore.connect())
        try await withKnownIssue("nothing completes the backend") {
            try await check.runPromise(on: kms)
        } matching: { issue in
            if case .expectationFailed = issue.kind { true } else { false }
        }
        await keystore.shutdown()
    }
}
