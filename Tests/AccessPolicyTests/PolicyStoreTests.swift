import AccessPolicy
import Foundation
import Testing

@Suite struct PolicyStoreTests {
    private static func text(_ action: String) -> String {
        "version: 1\nrules:\n  - {name: r, effect: allow, who: {anyone: true}, actions: [\(action)]}\n"
    }

    private func withFile(_ body: (String, (String) throws -> Void) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("hkms-policy-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appendingPathComponent("policy.yaml")
        try body(file.path) { try Data($0.utf8).write(to: file, options: .atomic) }
    }

    @Test(
        "a usable file is taken as a whole; a bad one leaves the policy in force, and is told until one is good again")
    func reload() throws {
        try withFile { path, write in
            #expect(throws: (any Error).self) { try PolicyStore(path: path) }
            try write(Self.text("audit"))
            let store = try PolicyStore(path: path)
            let (audit, list) = (AccessRequest.own(.audit), AccessRequest.own(.modelsList))
            #expect(store.decide(audit).isAllowed && !store.decide(list).isAllowed && store.problem == nil)
            #expect(store.reload() == .unchanged)
            let first = store.digest

            try write(Self.text("models.list"))
            #expect(store.digest == first)
            #expect(store.reload() == .replaced(earlier: first, digest: store.digest))
            let second = store.digest
            #expect(second != first && !store.decide(audit).isAllowed && store.decide(list).isAllowed)
            #expect(store.decide(list).policyDigest == second)

            for bad in ["", Self.text("fly"), Self.text("audit") + "rulez: []\n", "version: 1\nrules: [", "\u{0}"] {
                try write(bad)
                guard case .refused(let error) = store.reload() else {
                    Issue.record("\(bad)")
                    continue
                }
                #expect(store.digest == second && store.decide(list).isAllowed && !store.decide(audit).isAllowed)
                let problem = try #require(store.problem)
                #expect(problem.contains(String(second.prefix(12))) && problem.contains("\(path):"))
                #expect(!problem.contains("\n") && problem.contains(error.issues[0].message))
            }
            try FileManager.default.removeItem(atPath: path)
            guard case .refused = store.reload() else { return #expect(Bool(false)) }
            #expect(store.decide(list).isAllowed)

            // The same policy again ends the trouble.
            try write(Self.text("models.list"))
            #expect(store.reload() == .unchanged && store.problem == nil && store.digest == second)
        }
    }

    @Test("without a file the built-in policy is in force, for ever")
    func builtIn() {
        let store = PolicyStore()
        #expect(store.reload() == .unchanged && store.digest == Policy.builtIn.digest && store.problem == nil)
        #expect(store.decide(.own(.encrypt)).description.hasPrefix("allowed by rule owners-and-groups (built-in:"))
    }

    @Test("whoever asks while it is exchanged gets one policy or the other")
    func concurrent() async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("hkms-policy-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appendingPathComponent("policy.yaml")
        try Data(Self.text("audit").utf8).write(to: file)
        let store = try PolicyStore(path: file.path)
        let digests = try ["audit", "models.list"].map { try Policy(text: Self.text($0), name: "p.yaml").digest }
        await withTaskGroup(of: Bool.self) { group in
            for task in 0..<4 {
                group.addTask {
                    for step in 0..<50 {
                        if task == 0 {
                            try? Data(Self.text(step % 2 == 0 ? "models.list" : "audit").utf8)
                                .write(to: file, options: .atomic)
                            store.reload()
                        }
                        let policy = store.policy
                        let allows = (
                            policy.decide(.own(.audit)).isAllowed, policy.decide(.own(.modelsList)).isAllowed
                        )
                        guard allows == (policy.digest == digests[0], policy.digest == digests[1]) else { return false }
                    }
                    return true
                }
            }
            for await isRight in group { #expect(isRight) }
        }
        #expect(store.digest == digests[0])
    }
}
