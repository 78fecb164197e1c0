// Package metrics writes figures as Prometheus and OpenMetrics text, by
// client_golang, which nothing else here imports. Whoever has figures is asked
// for them when somebody looks, and nothing is counted here: there is no
// registry that packages add to.
//
// Names follow Prometheus' conventions: greengate_list_age_seconds, in base
// units, with _total for what only rises. A state is one series for each word
// that it may have, 1 for the one that holds. A label is never made of what a
// person shows.
package metrics
