module powercut

go 1.26.0

replace greengate => ../..

require greengate v0.0.0-00010101000000-000000000000

require (
	github.com/fxamacker/cbor/v2 v2.10.0 // indirect
	github.com/x448/float16 v0.8.4 // indirect
)
