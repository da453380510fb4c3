import Foundation
import Testing

/// The suite, unchanged, against every adapter. `HKMS_CONFORMANCE=software,openbao` runs those columns alone.
@Suite(.serialized) struct ConformanceTests {
    private static let columns: [ConformanceColumn] = {
        guard let names = ProcessInfo.processInfo.environment["HKMS_CONFORMANCE"] else { return ConformanceColumn.all }
        let chosen = Set(names.split(separator: ",").map(String.init))
        return ConformanceColumn.all.filter { chosen.contains($0.name) }
    }()

    @Test(arguments: columns, TrustedKMSConformance.allCases)
    func holds(of column: ConformanceColumn, _ check: TrustedKMSConformance) async throws {
        let subject = try await column.make()
        do {
            _ = try await check.run(on: subject)
            await subject.shutdown()
        } catch {
            await subject.shutdown()
            throw error
        }
    }
}
