package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"greengate/cmd/version"
	"greengate/cmd/wire"
	"greengate/gpio"
	"greengate/gpio/gpiosim"
)

// runGate is one gate whose pins, contacts and thermometer lie in memory. The
// drivers on them are the real ones.
func runGate(ctx context.Context, args []string, stderr io.Writer) (err error) {
	flags := flag.NewFlagSet("gatesim gate", flag.ContinueOnError)
	flags.SetOutput(stderr)
	config := flags.String("config", "gate.toml", "configuration `file`")
	socket := flags.String("sim", "", "`socket` over which the lane is moved and watched")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q\nhint: gatesim gate -h lists the flags", flags.Arg(0))
	}
	cfg, err := wire.ReadConfig(*config)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	mode := gpio.PulseMode
	if cfg.GPIO != nil {
		mode = gpio.Mode(cfg.GPIO.Mode)
	}
	lane := gpiosim.New(mode)
	panel, err := gpio.New(lane.Pins(), lane.Config(), log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, panel.Close()) }()
	sensor, err := gpio.NewThermometer(lane.Bus(), gpio.ThermometerConfig{}, log)
	if err != nil {
		return err
	}
	stage, err := openStage(*socket, lane, log)
	if err != nil {
		return fmt.Errorf("simulation socket: %w", err)
	}
	defer func() { err = errors.Join(err, stage.close()) }()
	gate, err := wire.Open(cfg, wire.Hardware{Panel: panel, Thermometer: sensor, PassageContact: true, ExitContact: true},
		wire.Options{Log: log, Now: time.Now, Synchronised: wire.Synchronised, Version: version.String(),
			Screens: stage.screens(), Decided: stage.decided})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, gate.Close()) }()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return stage.serve(ctx) })
	group.Go(func() error {
		return gate.Run(ctx, func() { log.Info("simulated gate runs", "pages", gate.Address()) })
	})
	return group.Wait()
}
