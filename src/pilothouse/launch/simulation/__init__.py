"""A cluster without containers: the real API, controllers and scheduler, with virtual nodes behind them."""
