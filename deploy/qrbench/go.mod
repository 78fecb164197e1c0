module qrbench

go 1.26.0

replace greengate => ../..

require (
	golang.org/x/image v0.47.0
	golang.org/x/text v0.43.0
	greengate v0.0.0-00010101000000-000000000000
)

require (
	github.com/makiuchi-d/gozxing v0.1.1 // indirect
	golang.org/x/xerrors v0.0.0-20200804184101-5ec99f83aff1 // indirect
)
