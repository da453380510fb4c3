import EncryptedInference
import EvaluationUnit
import Testing

@Suite struct PlainPredictionsTests {
    @Test("scores with their labels")
    func predictions() throws {
        let model = try InferenceModel(parsing: Models.tinyFile())
        let records = Models.tinyRecords(6)
        let predictions = try PlainPredictions(model, records: records)
        #expect(predictions.model == "tiny")
        let vectors = try records.enumerated().map { try $1.encoded(by: model.inputs, index: $0) }
        #expect(predictions.predictions.map(\.score) == model.evaluateInTheClear(vectors))
        #expect(predictions.predictions.allSatisfy { $0.label == ($0.score > 0.5 ? "high" : "low") })
    }

    @Test("errors name the record, counted from 1")
    func errors() throws {
        let model = try InferenceModel(parsing: Models.tinyFile())
        #expect(throws: PlainPredictionsError.noRecords) { try PlainPredictions(model, records: []) }
        var records = Models.tinyRecords(3)
        records[2].fields["b"] = .number(7)
        do {
            _ = try PlainPredictions(model, records: records)
            Issue.record("no error")
        } catch {
            #expect(error.description == "record 3: b is 7.0; it must be in -1.0...1.0")
        }
    }
}
