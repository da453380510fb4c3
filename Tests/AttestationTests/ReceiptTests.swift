import Attestation
import Testing

@Suite struct ReceiptTests {
    @Test("a receipt that answers the job passes")
    func answering() throws {
        try Fixtures.receipt().validate(answering: Fixtures.job(), profile: Fixtures.digest(6))
    }

    @Test("the field that differs is named")
    func mismatches() throws {
        let changes: [(field: String, change: (inout Receipt) throws -> Void)] = [
            ("job", { $0.job = "job-2" }),
            ("nonce", { $0.nonce = try Fixtures.digest(99) }),
            ("evaluation unit", { $0.unit = "unit-2" }),
            ("key set", { $0.keySet = "ks-2" }),
            ("manifest", { $0.manifest = try Fixtures.digest(99) }),
            ("model", { $0.modelDigest = try Fixtures.digest(99) }),
            ("circuit profile", { $0.profile = try Fixtures.digest(99) }),
            ("list of inputs", { $0.inputs.swapAt(0, 1) }),
            ("list of inputs", { $0.inputs.removeLast() }),
            ("list of inputs", { $0.inputs.append(try Fixtures.digest(4)) }),
            ("list of inputs", { $0.inputs[1] = try Fixtures.digest(99) }),
            ("number of outputs", { $0.outputs.removeLast() }),
            ("number of outputs", { $0.outputs.append(try Fixtures.digest(99)) }),
            ("number of outputs", { $0.outputs = [] }),
        ]
        for (field, change) in changes {
            var receipt = try Fixtures.receipt()
            try change(&receipt)
            #expect(throws: AttestationError.mismatch(field: field)) {
                try receipt.validate(answering: Fixtures.job(), profile: Fixtures.digest(6))
            }
        }
    }

    @Test("a circuit of several operands has an output for each evaluation")
    func operands() throws {
        var receipt = try Fixtures.receipt()
        #expect(receipt.inputs.count == 2)
        let output = receipt.outputs[0]
        receipt.outputs = [output]
        try receipt.validate(answering: Fixtures.job(), profile: Fixtures.digest(6), operands: 2)
        for outputs in [[], [output, output]] {
            receipt.outputs = outputs
            let wrong = receipt
            #expect(throws: AttestationError.mismatch(field: "number of outputs")) {
                try wrong.validate(answering: Fixtures.job(), profile: Fixtures.digest(6), operands: 2)
            }
        }
    }

    @Test("a job without inputs has no receipt")
    func empty() throws {
        var job = try Fixtures.job()
        var receipt = try Fixtures.receipt()
        job.inputs = []
        receipt.inputs = []
        receipt.outputs = []
        #expect(throws: AttestationError.mismatch(field: "number of outputs")) {
            try receipt.validate(answering: job, profile: Fixtures.digest(6))
        }
    }
}
