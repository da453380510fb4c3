import DataFiles
import Foundation
import HKMSClient
import HomomorphicEncryption
import RLWE
import ServiceKit
import Testing

/// A client that asks for what is not its own, over HTTP.
@Suite(.serialized) struct LyingClientTests {
    /// Ciphertexts that anybody can make of the public key that the API serves.
    private struct Outsider {
        let context: EncryptionContext
        let publicKey: PublicKey

        init(_ info: KeySetInfo, publicKey bytes: [UInt8]) throws {
            let parameters = info.parameters
            context = try EncryptionContext(
                EncryptionParameters(
                    scheme: .ckks, logN: parameters.logN, q: parameters.q, p: parameters.p,
                    alpha: parameters.alpha))
            publicKey = try PublicKey(serialized: bytes, context: context)
        }

        func honest(level: Int) throws -> [UInt8] {
            try publicKey.encrypt(CKKSEncoder(context).encode([1, 2, 3], scale: 0x1p31, level: level))
                .serialized()
        }

        /// Enc(0) + (0, K): looks like any ciphertext, and decrypts to K times the secret key.
        func query(level: Int) throws -> [UInt8] {
            let zero = try publicKey.encrypt(
                CKKSEncoder(context).encode([0], scale: 0x1p31, level: level))
            var constant = RNSPolynomial(basis: context.ciphertextBasis(level: level), form: .coefficient)
            for row in 0..<level { constant.withMutableRow(row) { $0[0] = 1 << 20 } }
            constant.transform()
            return try Ciphertext(
                context: context, polynomials: [zero.polynomials[0], zero.polynomials[1] + constant],
                scale: 0x1p31
            ).serialized()
        }
    }

    private func record() throws -> RecordBody {
        try RecordFile(Array(Data(contentsOf: Installation.records))).records[0]
    }

    @Test(
        "the key-recovery query gets no answer: not by decrypt, nor by a job, nor as a unit's result")
    func keyRecovery() async throws {
        try await Installation.use { installation in
            let liar = try await installation.putLiarBeforeUnit()
            let alice = installation.alice
            var request = RegisterRequest(requestId: "r", mode: "envelope", model: "heart-disease", release: "raw")
            request.decryptionBudget = 9
            let info = try await alice.register(request).body
            let outsider = try Outsider(info, publicKey: await alice.publicKey(ofKeySet: info.id).body)
            let record = try record()
            let good = try await alice.encrypt(
                records: [RecordBody](repeating: record, count: 130), model: "heart-disease",
                keySet: info.id
            ).body
            #expect(good.count == 3)
            let levels = 1...outsider.context.maximumLevel
            for made in try levels.map(outsider.query) + levels.map(outsider.honest) {
                // Alone, and the last of several good ones.
                for sent in [[made], good + [made]] {
                    await expectProblem("ciphertext-not-vouched", status: 403) {
                        _ = try await alice.decrypt(sent, keySet: info.id)
                    }
                    await expectProblem("ciphertext-not-vouched", status: 403) {
                        _ = try await alice.openJob(keySet: info.id, model: "heart-disease", ciphertexts: sent)
                    }
                }
            }
            // In the place of a unit's result: whoever passes it on cannot sign for it.
            for level in levels {
                let query = try outsider.query(level: level)
                try liar.tell("output of another", output: query)
                await expectProblem("receipt-rejected", status: 502) {
                    _ = try await alice.predict(
                        model: "heart-disease", PredictRequest(keySet: info.id, records: [record]))
                }
                let job = try await alice.finished(
                    try await alice.openJob(keySet: info.id, model: "heart-disease", ciphertexts: [good[0]])
                        .body)
                #expect(job.failure == "receipt-rejected")
                await expectProblem("ciphertext-not-vouched", status: 403) {
                    _ = try await alice.decrypt([query], keySet: info.id)
                }
            }
            try liar.tell(nil)
            #expect(try await alice.keySet(info.id).body.counters.decryptionsLeft == 9)
            #expect(try await alice.keySet(info.id).body.counters.decryptions == 0)
            _ = try await alice.decrypt(good, keySet: info.id, count: 1)
            #expect(try await alice.keySet(info.id).body.counters.decryptionsLeft == 6)

            // A unit that the requester runs could sign for anything, and so is not asked.
            try installation.changeConfiguration {
                $0.replacingOccurrences(
                    of: "  - name: unit-1\n", with: "  - name: unit-1\n    operator: developer\n")
            }
            try await installation.restart()
            for keySet in [info.id, nil] {
                await expectProblem("unit-is-requester", status: 403) {
                    _ = try await alice.predict(
                        model: "heart-disease",
                        PredictRequest(keySet: keySet, ephemeral: keySet == nil ? true : nil, records: [record])
                    )
                }
            }
            // Nor does it choose the noise that hides the key from whoever runs it.
            let before = try await alice.keySets().body.keySets.count
            await expectProblem("unit-is-requester", status: 403) {
                _ = try await alice.register(
                    RegisterRequest(requestId: "own unit", mode: "direct", model: "heart-disease"))
            }
            #expect(try await alice.keySets().body.keySets.count == before)
            await expectProblem("unit-is-requester", status: 403) {
                _ = try await alice.openJob(keySet: info.id, model: "heart-disease", ciphertexts: good)
            }
            let bobs = try await installation.bob.predict(
                model: "heart-disease", PredictRequest(keySet: nil, ephemeral: true, records: [record])
            ).body
            #expect(bobs.predictions.count == 1)
        }
    }

    @Test("a body that is no bundle has a name, costs nothing, and opens no job")
    func bundles() async throws {
        try await Installation.use { installation in
            let alice = installation.alice
            var request = RegisterRequest(requestId: "r", mode: "direct", model: "heart-disease", release: "raw")
            request.decryptionBudget = 9
            let keySet = try await alice.register(request).body.id
            let record = try record()
            let inputs = try await alice.encrypt(
                records: [RecordBody](repeating: record, count: 65), model: "heart-disease", keySet: keySet
            ).body
            let good = OctetBundle.encode(inputs)
            let file = installation.folder.appendingPathComponent("bundle")
            /// What the gateway says to these bytes: status, and the problem's name.
            func post(_ path: String, _ body: [UInt8]) throws -> (status: Int, name: String) {
                try Data(body).write(to: file)
                let answer = try installation.curl(
                    "-X", "POST", "-H", "Content-Type: \(OctetBundle.mediaType)", "--data-binary", "@\(file.path)",
                    "-w",
                    "\n%{http_code}", installation.gatewayURL + path)
                let end = answer.out.lastIndex(of: "\n") ?? answer.out.startIndex
                let problem = Problem(decoding: Array(answer.out[..<end].utf8), status: 0)
                return (Int(answer.out[end...].dropFirst()) ?? 0, problem.name)
            }
            func replaced(_ offset: Int, _ bytes: [UInt8]) -> [UInt8] {
                Array(good[..<offset]) + bytes + Array(good[(offset + bytes.count)...])
            }
            let malformed: [(String, [UInt8])] =
                [0, 7, 12, 16, 20, 24, good.count / 2, good.count - 1].map { ("cut at \($0)", Array(good[..<$0])) }
                + [
                    ("one byte longer", good + [0]), ("twice", good + good), ("other magic", replaced(0, [0])),
                    ("version 2", replaced(8, [2])), ("reserved", replaced(10, [1])),
                    ("a string fewer announced", replaced(12, [1])),
                    // The first bytes of a ciphertext are its length then.
                    ("a string more announced", replaced(12, [3])),
                ]
            let large: [(String, [UInt8])] = [
                ("huge count", replaced(12, [0xFF, 0xFF, 0xFF, 0xFF])),
                ("huge length", replaced(16, [UInt8](repeating: 0xFF, count: 7) + [0x7F])),
                ("the hugest length", replaced(16, [UInt8](repeating: 0xFF, count: 8))),
            ]
            let paths = ["/v1/keysets/\(keySet)/decrypt", "/v1/jobs?keyset=\(keySet)&model=heart-disease"]
            for path in paths {
                for (name, status, bodies) in [("bundle-malformed", 400, malformed), ("bundle-too-large", 413, large)] {
                    for (what, body) in bodies {
                        let answer = try post(path, body)
                        #expect(answer.name == name && answer.status == status, "\(what): \(answer)")
                    }
                }
                let none = try post(path, OctetBundle.encode([]))
                #expect(none.name == "invalid-request" && none.status == 400, "\(none)")
                let empty = try post(path, OctetBundle.encode([[], []]))
                #expect(empty.name == "ciphertext-not-vouched" && empty.status == 403, "\(empty)")
            }
            var counters = try await alice.keySet(keySet).body.counters
            #expect(counters.decryptionsLeft == 9 && counters.decryptions == 0 && counters.failures == 0)
            #expect(try await alice.jobs().body.jobs.isEmpty)

            // One ciphertext twice is two, and costs two.
            let twice = [inputs[0], inputs[0]]
            #expect(try post(paths[0], OctetBundle.encode(twice)).status == 200)
            counters = try await alice.keySet(keySet).body.counters
            #expect(counters.decryptionsLeft == 7 && counters.decryptions == 2)
            let job = try await alice.finished(
                try await alice.openJob(keySet: keySet, model: "heart-disease", ciphertexts: twice).body)
            #expect(job.state == "evaluated" && job.outputs.count == 2 && Set(job.outputs).count == 1)
            #expect(try await alice.results(ofJob: job.id).body.count == 2)
        }
    }

    @Test(
        "what is another's looks as if it were not there; a group shares its key sets and not its jobs")
    func otherPrincipals() async throws {
        try await Installation.use { installation in
            let tokens = installation.folder.appendingPathComponent("tokens.yaml")
            let carolsToken = StaticTokenFile.generateToken()
            let text = try String(contentsOf: tokens, encoding: .utf8)
                .replacingOccurrences(of: "groups: []", with: "groups: [clinic]")
                .replacingOccurrences(
                    of: "- subject: bob\n", with: "- subject: bob\n    groups: [clinic]\n")
            let carols =
                "  - subject: carol\n    tokenSHA256: \(StaticTokenFile.tokenSHA256(carolsToken))\n"
            try Data((text + carols).utf8).write(to: tokens)
            try await installation.restart()
            let (alice, bob) = (installation.alice, installation.bob)
            let carol = try HKMSClient(address: installation.gatewayURL, token: carolsToken)
            do {
                try await share(alice, bob, carol)
            } catch {
                await carol.shutdown()
                throw error
            }
            await carol.shutdown()
        }
    }

    private func share(_ alice: HKMSClient, _ bob: HKMSClient, _ carol: HKMSClient) async throws {
        let record = try record()
        var request = RegisterRequest(requestId: "shared", mode: "direct", model: "heart-disease", release: "raw")
        request.group = "clinic"
        let shared = try await alice.register(request).body
        #expect(shared.owner.kind == "group" && shared.owner.subject == "clinic")
        let own = try await alice.register(
            RegisterRequest(requestId: "own", mode: "direct", model: "heart-disease", release: "raw")
        ).body.id
        let inputs = try await alice.encrypt(
            records: [record], model: "heart-disease", keySet: shared.id
        ).body
        let job = try await alice.finished(
            try await alice.openJob(keySet: shared.id, model: "heart-disease", ciphertexts: inputs).body)
        let outputs = try await alice.results(ofJob: job.id).body

        // A member uses the group's key set, and decrypts what it was given.
        _ = try await bob.decrypt(outputs, keySet: shared.id, count: 1)
        #expect(try await bob.keySets().body.keySets.map(\.id) == [shared.id])
        for stranger in [bob, carol] {
            await expectProblem("unknown-job", status: 404) { _ = try await stranger.job(job.id) }
            await expectProblem("unknown-job", status: 404) {
                _ = try await stranger.results(ofJob: job.id)
            }
            #expect(try await stranger.jobs().body.jobs.isEmpty)
            await expectProblem("unknown-key-set", status: 404) { _ = try await stranger.keySet(own) }
        }
        #expect(try await carol.keySets().body.keySets.isEmpty)
        for keySet in [shared.id, own] {
            await expectProblem("unknown-key-set", status: 404) {
                _ = try await carol.decrypt(outputs, keySet: keySet)
            }
            await expectProblem("unknown-key-set", status: 404) {
                _ = try await carol.openJob(keySet: keySet, model: "heart-disease", ciphertexts: inputs)
            }
            await expectProblem("unknown-key-set", status: 404) {
                _ = try await carol.manifest(ofKeySet: keySet)
            }
            await expectProblem("unknown-key-set", status: 404) {
                _ = try await carol.evaluationKeys(ofKeySet: keySet)
            }
            await expectProblem("unknown-key-set", status: 404) {
                _ = try await carol.evaluationKey(.relinearization, ofKeySet: keySet)
            }
            await expectProblem("unknown-key-set", status: 404) {
                _ = try await carol.destroy(keySet: keySet)
            }
        }
        // Under one's own key set another's ciphertexts are nobody's; and nobody registers for a group of others.
        let carols = try await carol.register(
            RegisterRequest(requestId: "own", mode: "direct", model: "heart-disease", release: "raw")
        ).body.id
        #expect(carols != own)
        for ciphertexts in [inputs, outputs] {
            await expectProblem("ciphertext-not-vouched", status: 403) {
                _ = try await carol.decrypt(ciphertexts, keySet: carols)
            }
            await expectProblem("ciphertext-not-vouched", status: 403) {
                _ = try await alice.decrypt(ciphertexts, keySet: own)
            }
            await expectProblem("ciphertext-not-vouched", status: 403) {
                _ = try await carol.openJob(
                    keySet: carols, model: "heart-disease", ciphertexts: ciphertexts)
            }
        }
        let stolen = request
        await expectProblem("invalid-request", status: 400) { _ = try await carol.register(stolen) }

        // Ids that are guessed, cut, longer or no ids at all.
        let guesses = [
            String(shared.id.dropLast()), shared.id + "0", shared.id.uppercased(),
            "ks-" + String(repeating: "0", count: 32),
            "ks-*", "..", "%2e%2e", "ks-%00", String(repeating: "k", count: 3000), "ks-\u{1F511}",
        ]
        for guess in guesses {
            for client in [alice, carol] {
                await expectNothing("key set \(guess)") { _ = try await client.keySet(guess) }
                await expectNothing("job \(guess)") { _ = try await client.results(ofJob: guess) }
            }
        }
        let counters = try await alice.keySet(shared.id).body.counters
        #expect(counters.decryptions == 1 && counters.failures == 0)
    }

    /// Neither the gateway has such a thing, nor does a client ask for what can be no name.
    private func expectNothing(_ what: String, _ body: () async throws -> Void) async {
        do {
            try await body()
            Issue.record("there is a \(what)")
        } catch let error as HKMSClientError {
            switch error {
            case .problem(let problem): #expect([404, 400, 414].contains(problem.status), "\(what): \(problem)")
            case .invalidArgument: break
            default: Issue.record(error, "\(what)")
            }
        } catch { Issue.record(error) }
    }
}
