import ComplexModule
import EncryptedInference
import KeyManagement
import RealModule
import ServiceKit

/// The four kinds of values that a client may have encrypted: vectors and integers as they are, records as a model or a
/// circuit takes them.
extension Gateway {
    func encrypt(
        _ body: EncryptRequest, under keySet: String, as requester: Requester
    ) async throws -> EncryptionResult {
        let kinds = [
            body.vectors != nil, body.integers != nil, body.records != nil, body.integerRecords != nil,
        ]
        guard kinds.filter({ $0 }).count == 1, body.vectors != nil || (body.model == nil) == (body.integers != nil)
        else {
            throw Problem.badRequest(
                "the body has neither vectors, nor model and records, nor integers, nor model and integerRecords",
                fix: "Give vectors, or model and records, or model and its packed vectors; under BFV integers, or "
                    + "model and integerRecords.")
        }
        if let integers = body.integers {
            return try await manager.encrypt(
                integers.map { body.unsigned == true ? .residues($0) : .integers($0) }, under: keySet,
                scaleBits: body.scaleBits, level: body.level, as: requester)
        }
        if let records = body.integerRecords {
            let circuit = try await units.model(named: body.model ?? "").integerCircuit()
            return try await manager.encrypt(
                circuit.slots(of: records).map { .integers($0) }, under: keySet, level: circuit.profile.inputLevel,
                circuit: circuit.profile, as: requester)
        }
        var inputs: [EncryptionInput] = []
        if let vectors = body.vectors {
            inputs = try vectors.map { vector in
                if let imaginary = vector.imaginary, imaginary.count != vector.real.count {
                    throw Problem.badRequest(
                        "a vector has \(vector.real.count) real and \(imaginary.count) imaginary parts",
                        fix: "Give as many imaginary parts as real ones, or none.")
                }
                return EncryptionInput(
                    vector.real.enumerated().map { Complex($1, vector.imaginary?[$0] ?? 0) })
            }
            if body.model == nil {
                return try await manager.encrypt(
                    inputs, under: keySet, scaleBits: body.scaleBits, level: body.level, as: requester)
            }
        }
        let manifest = try await manager.signedManifest(keySet, as: requester).body
        let descriptor = try await units.model(named: body.model ?? "", for: manifest).network()
        if let records = body.records {
            inputs = try descriptor.slots(of: records.map { Record($0) }).map { EncryptionInput(real: $0) }
        } else {
            try requireInputs(inputs, of: descriptor)
        }
        return try await manager.encrypt(
            inputs, under: keySet, scaleBits: descriptor.profile.scaleBits, level: descriptor.profile.inputLevel,
            circuit: descriptor.profile, as: requester)
    }

    /// Squares multiply errors by messages: the bound behind flooded results is for inputs within the model's ranges.
    private func requireInputs(_ inputs: [EncryptionInput], of descriptor: ModelDescriptor) throws {
        for (index, input) in inputs.enumerated() {
            if case .complex(let values) = input, values.allSatisfy({ $0.imaginary == 0 }),
                descriptor.holds(values.map(\.real))
            {
                continue
            }
            throw Problem(
                name: "vector-out-of-range", title: "The vectors are no inputs of the model", status: 422,
                detail: "Vector \(index + 1) has a value outside of the range of its feature, or is too long.",
                fix: "Give records instead of vectors, or correct it; GET /v1/models describes every field.")
        }
    }
}

extension Record {
    init(_ body: RecordBody) { self.init(body.mapValues { $0.map { .number($0) } ?? .missing }) }
}
