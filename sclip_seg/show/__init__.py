"""What people look at: drawings, the predictor, the page."""
